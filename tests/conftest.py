"""What every test run shares: hypothesis's profiles, the seed of its dice, the fixtures of the real parts."""

import os
import secrets

import pytest
from hypothesis import HealthCheck, Phase, settings

pytest_plugins = ["tests.integration.fixtures"]

# `ci` gives every run the same examples: a red build is about the change, not about the dice, and stays red when it is
# run again. New examples are looked for on the developers' machines, where a failure is kept in .hypothesis and comes
# back until it is mended. No deadline: on a shared machine it measures the neighbours.
settings.register_profile("dev", deadline=None, print_blob=True)
settings.register_profile(
    "ci", deadline=None, print_blob=True, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
# Breaking the code on purpose: the same examples, and no time spent on the smallest one that shows it.
settings.register_profile(
    "mutants", settings.get_profile("ci"), phases=[Phase.explicit, Phase.generate], print_blob=False
)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

_SEED = int(os.environ.get("SOAK_SEED") or secrets.randbelow(1_000_000))


def pytest_report_header() -> str:
    return f"soak seed: {_SEED} (the same dice again: SOAK_SEED={_SEED})"


@pytest.fixture(scope="session")
def seed() -> int:
    """For `random.Random`: where a test rolls dice, its run is told apart by this."""
    return _SEED
