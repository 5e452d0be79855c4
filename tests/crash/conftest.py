from collections.abc import Callable

import pytest

from tests.crash.stage import Stage
from tests.integration.cluster import Cluster
from tests.integration.fixtures import StartWorker
from worker.sandbox import Sandbox

MakeStage = Callable[[str], Stage]


@pytest.fixture
def make_stage(cluster: Cluster, sandbox: Sandbox, start_worker: StartWorker) -> MakeStage:
    """A stage for a group under this protocol."""
    return lambda protocol: Stage(cluster, sandbox, start_worker, protocol)
