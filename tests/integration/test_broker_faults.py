"""Brokers that die and leaders that move: nothing lost, order kept, few repeats; under each protocol."""

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from confluent_kafka import KafkaException

from tests.integration.audit import audit
from tests.integration.cluster import Cluster
from tests.integration.fixtures import StartWorker
from tests.integration.harness import WorkerProcess, wait_until
from tests.integration.test_delivery import settled
from tests.integration.three_brokers import ThreeBrokers
from tests.integration.traffic import Traffic
from worker.demo.jars import find_java
from worker.sandbox import Sandbox

PARTITIONS = 4
EVENTS_PER_SECOND = 50
CHAOS_SECONDS = 300
LEADER_SECONDS = 2
KILL_SECONDS = 10
PROTOCOLS = {
    "cooperative-sticky": {"KAFKA_GROUP_PROTOCOL": "classic"},
    "eager": {"KAFKA_CLIENT": '{"partition.assignment.strategy": "range"}'},
    "kip-848": {"KAFKA_GROUP_PROTOCOL": "consumer"},
}

pytestmark = pytest.mark.endurance


@pytest.fixture(scope="module")
def brokers(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreeBrokers]:
    with ThreeBrokers(tmp_path_factory.mktemp("brokers"), find_java(os.environ)) as brokers:
        yield brokers


class Groups:
    """One topic, and a group of one worker under each protocol that delivers all of it to an API of its own."""

    def __init__(self, brokers: ThreeBrokers, start_worker: StartWorker, sandboxes: dict[str, Sandbox]) -> None:
        self.cluster = Cluster(brokers.bootstrap_servers)
        self.topic = self.cluster.make_topic(partitions=PARTITIONS)
        self.groups = {name: self.cluster.unique(name) for name in PROTOCOLS}
        self.sandboxes = sandboxes
        self.workers = {
            name: start_worker(
                KAFKA_BROKERS=brokers.bootstrap_servers,
                KAFKA_TOPICS=self.topic,
                KAFKA_CONSUMER_GROUP=self.groups[name],
                DREAMDATA_URL=sandboxes[name].url,
                **settings,
            )
            for name, settings in PROTOCOLS.items()
        }

    def worker_lines(self, name: str, *levels: str) -> list[dict[str, object]]:
        return [line for line in self.workers[name].log_lines() if line.get("level") in levels]

    def wait_settled(self, timeout_seconds: float) -> dict[str, float]:
        """Until every group has committed all there is; returns after how many seconds each had."""
        began = time.monotonic()
        seconds: dict[str, float] = {}

        def all_settled() -> bool:
            for name, group in self.groups.items():
                self.workers[name].check_running()
                with suppress(KafkaException):  # a leader that has only just become one knows no end
                    if name not in seconds and settled(self.cluster, group, self.topic):
                        seconds[name] = round(time.monotonic() - began, 1)
            return len(seconds) == len(self.groups)

        try:
            wait_until(all_settled, timeout_seconds, "all is committed")
        except TimeoutError as error:
            offsets = {name: self.cluster.committed(group, self.topic) for name, group in self.groups.items()}
            raise TimeoutError(f"{error}: {offsets} of {self.cluster.end_offsets(self.topic)}") from error
        return seconds


@pytest.fixture
def groups(brokers: ThreeBrokers, start_worker: StartWorker) -> Iterator[Groups]:
    with ExitStack() as stack:
        sandboxes = {name: stack.enter_context(Sandbox(max_events=100_000)) for name in PROTOCOLS}
        groups = Groups(brokers, start_worker, sandboxes)
        for worker in groups.workers.values():
            worker.wait_ready(60)
        yield groups


def move_leaders(brokers: ThreeBrokers, topic: str, stop: threading.Event, moves: list[float]) -> None:
    while not stop.wait(LEADER_SECONDS):
        try:
            brokers.move_leaders(topic, PARTITIONS)
            moves.append(time.monotonic())
        except (OSError, KafkaException):
            continue  # the broker that was asked is the one that is down


@pytest.mark.timeout(700)
def test_leaders_that_move_and_brokers_that_are_killed_lose_nothing_and_keep_order(
    brokers: ThreeBrokers, groups: Groups
) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    dice = random.Random(seed)
    stop = threading.Event()
    moves: list[float] = []
    mover = threading.Thread(target=move_leaders, args=(brokers, groups.topic, stop, moves))
    kills = 0
    try:
        with Traffic(brokers.bootstrap_servers, groups.topic, PARTITIONS, EVENTS_PER_SECOND) as traffic:
            mover.start()
            ends_at = time.monotonic() + CHAOS_SECONDS
            while time.monotonic() < ends_at:
                next_at = time.monotonic() + KILL_SECONDS
                victim = dice.randint(1, 3)
                brokers.kill(victim)
                kills += 1
                brokers.start(victim)
                stop.wait(max(0.0, next_at - time.monotonic()))
    finally:
        stop.set()
        mover.join()
    seconds = groups.wait_settled(120)
    # a record that a dead leader had taken already is acknowledged without its offset: read back, all have theirs
    stored = groups.cluster.read_topic(groups.topic)
    assert len(stored) == len(traffic.produced)
    say(f"seed {seed}: {len(traffic.produced)} events, {kills} kills, {len(moves)} moves; settled after {seconds}")
    assert len(moves) >= CHAOS_SECONDS / LEADER_SECONDS / 4, "leaders have moved all the time"
    for name, group in groups.groups.items():
        found = audit(groups.cluster, groups.sandboxes[name], group, stored)
        say(f"{name}: {found.repeats.total()} repeats, {len(groups.worker_lines(name, 'warning', 'error'))} lines")
        # each death may take a coordinator with it, and the commit it was about to take
        found.verify(max_repeats=kills * EVENTS_PER_SECOND)
        worker_is_bounded(groups.workers[name], CHAOS_SECONDS + 120)


def say(measured: str) -> None:
    print(measured)  # noqa: T201  # the seed to run it again with, and numbers for the documentation


def worker_is_bounded(worker: WorkerProcess, seconds: float) -> None:
    """A line a minute of each kind of trouble, whatever it is about."""
    worst = [line for line in worker.log_lines() if line.get("level") in ("warning", "error", "critical")]
    assert len(worst) <= 5 * seconds / 60, worst[-10:]


def test_all_brokers_down_for_a_minute_is_said_and_ends_when_they_are_back(
    brokers: ThreeBrokers, groups: Groups
) -> None:
    with Traffic(brokers.bootstrap_servers, groups.topic, PARTITIONS, EVENTS_PER_SECOND) as traffic:
        wait_until(lambda: len(traffic.produced) > 200, 60, "some traffic")
        for number in (1, 2, 3):
            brokers.kill(number)
        down_at = time.monotonic()
        for worker in groups.workers.values():
            wait_until(lambda w=worker: any("Kafka" in why for why in w.ready_reasons()), 40, "it says so")  # type: ignore[misc]
        while time.monotonic() - down_at < 60:
            for worker in groups.workers.values():
                assert worker.get("/healthz")[0] == 200
                worker.check_running()
            time.sleep(0.5)
        starters = [threading.Thread(target=brokers.start, args=(number,)) for number in (1, 2, 3)]
        for starter in starters:
            starter.start()
        for starter in starters:
            starter.join()
    seconds = groups.wait_settled(120)
    # a record that a dead leader had taken already is acknowledged without its offset: read back, all have theirs
    stored = groups.cluster.read_topic(groups.topic)
    assert len(stored) == len(traffic.produced)
    say(f"{len(traffic.produced)} events; settled after {seconds}")
    for name, group in groups.groups.items():
        found = audit(groups.cluster, groups.sandboxes[name], group, stored)
        say(f"{name}: {found.repeats.total()} repeats, {len(groups.worker_lines(name, 'warning', 'error'))} lines")
        # delivered when the brokers died, and no longer to be committed
        found.verify(max_repeats=EVENTS_PER_SECOND)
        worker_is_bounded(groups.workers[name], 180)
        wait_until(groups.workers[name].is_ready, 60, "ready again")
