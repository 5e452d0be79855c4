"""Stages, and the table of what was measured on them, which ends the output of a run."""

from collections.abc import Callable

import pytest

from tests.crash.stage import Stage
from tests.integration.cluster import Cluster
from tests.integration.fixtures import StartWorker
from worker.sandbox import Sandbox

MakeStage = Callable[[str], Stage]
Measured = Callable[..., None]

_MEASURED = pytest.StashKey[list[str]]()


@pytest.fixture
def make_stage(cluster: Cluster, sandbox: Sandbox, start_worker: StartWorker) -> MakeStage:
    """A stage for a group under this protocol."""
    return lambda protocol: Stage(cluster, sandbox, start_worker, protocol)


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measured:
    """Keeps values under names for the table; of a test that fails too."""
    rows = request.config.stash.setdefault(_MEASURED, [])

    def keep(*words: str, **values: float) -> None:
        rows.append(
            ": ".join([request.node.name, *words, ""])
            + ", ".join(f"{name}={value:.4g}" for name, value in values.items())
        )

    return keep


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if rows := config.stash.get(_MEASURED, None):
        terminalreporter.section("measured")
        for row in rows:
            terminalreporter.line(row)
