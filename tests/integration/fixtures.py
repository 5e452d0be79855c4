"""The real parts as fixtures, for every folder of tests that works with them: one broker for the whole run."""

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Protocol

import pytest

from tests.integration.cluster import Cluster
from tests.integration.harness import WorkerProcess
from tests.integration.secure_kafka import SecureKafka
from worker.demo.broker import EmbeddedKafka
from worker.demo.jars import find_java
from worker.demo.process import RUN
from worker.sandbox import Sandbox


class StartWorker(Protocol):
    def __call__(self, *program: str, **settings: str) -> WorkerProcess: ...


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """The bootstrap servers of the one broker of this run: an embedded one, or what KAFKA_BROKERS_FOR_TESTS names."""
    if named := os.environ.get("KAFKA_BROKERS_FOR_TESTS"):
        yield named
        return
    # In a process of its own: this one may not connect beyond loopback, and the jars come from afar the first time.
    fetched = subprocess.run([sys.executable, "-m", "worker.demo.jars"], capture_output=True, text=True, check=False)
    if fetched.returncode != 0:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no embedded Kafka in CI: {fetched.stderr}", pytrace=False)
        pytest.skip(f"no embedded Kafka on this machine: {fetched.stderr}")
    with EmbeddedKafka.start(java=find_java(os.environ)) as broker:
        yield broker.bootstrap_servers


@pytest.fixture(scope="module")
def secure(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """One for all tests of a file; each has a topic, a group and a user of its own."""
    secure = SecureKafka.start(tmp_path_factory.mktemp("tls"), find_java(os.environ))
    yield secure
    secure.stop()


@pytest.fixture(scope="session")
def cluster(kafka: str) -> Iterator[Cluster]:
    cluster = Cluster(kafka)
    cluster.wake_coordinators()
    yield cluster
    if "KAFKA_BROKERS_FOR_TESTS" in os.environ:
        cluster.delete_topics_of_this_run()


@pytest.fixture
def topic(cluster: Cluster) -> str:
    """A fresh topic of one partition; `cluster.make_topic(partitions=4)` gives others."""
    return cluster.make_topic()


@pytest.fixture
def group(cluster: Cluster) -> str:
    return cluster.unique("group")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(max_events=100_000) as sandbox:
        yield sandbox


@pytest.fixture
def start_worker(cluster: Cluster, tmp_path: Path) -> Iterator[StartWorker]:
    """Starts a worker with these settings on top of a test's usual ones.

    KAFKA_TOPICS, KAFKA_CONSUMER_GROUP and DREAMDATA_URL are the test's to give, and `program` where Python is to be
    started with something else than `-m worker run`. All are gone when the test ends.
    """
    running: list[WorkerProcess] = []
    numbers = count(1)

    def start(*program: str, **settings: str) -> WorkerProcess:
        usual = {
            "KAFKA_BROKERS": cluster.bootstrap_servers,
            "DREAMDATA_API_KEY": "test-key",
            "CONSENT_CATEGORIES": "analytics,marketing",
            "BATCH_LINGER_MS": "50",
            "RETRY_INITIAL_SECONDS": "0.05",
            "RETRY_MAX_SECONDS": "0.5",
        }
        if "DREAMDATA_API_KEY_FILE" in settings:
            del usual["DREAMDATA_API_KEY"]
        worker = WorkerProcess({**usual, **settings}, tmp_path / f"worker-{next(numbers)}.log", program=program or RUN)
        running.append(worker)
        return worker

    yield start
    for worker in running:
        worker.close()
        # pytest shows it where the test has failed
        sys.stdout.write(worker.log_tail())
