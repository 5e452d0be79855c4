"""What every test run shares: hypothesis's profiles. No fixture that starts anything."""

import os

from hypothesis import HealthCheck, Phase, settings

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
