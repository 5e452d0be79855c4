"""A topic, a group under one of Kafka's protocols, the workers that serve it, and the audit of what they did.

No assertions in here, and no fixtures (`conftest.py` has them).
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from signal import SIGKILL

from tests.crash.driver import Point
from tests.crash.identity_watch import IdentityWatch
from tests.fakes import bodies, put_faults
from tests.integration.audit import Audit, CommitWatch, at_risk, audit
from tests.integration.cluster import Cluster, Message, Stored
from tests.integration.fixtures import StartWorker
from tests.integration.harness import WorkerProcess, wait_until
from tests.integration.signals import signal
from worker.demo.process import WorkerEndedError
from worker.sandbox import Sandbox
from worker.sandbox.ledger import Request

COOPERATIVE, EAGER, KIP_848 = "cooperative-sticky", "eager", "kip-848"
# The least a test's broker grants; the worker's default is 12 s, and under KIP-848 the broker's 45 s.
SESSION_MS = 3_000
# A third of it is waited for an answer when a partition is taken away; a session must not be longer.
POLL_INTERVAL_MS = 6_000

# An answer is committed within this time, with one batch in flight.
ANSWERED_SECONDS = 0.2
# How late a crowded machine lets the sandbox read what a process has sent before its end.
READ_SECONDS = 0.15

VISITORS = 10

_DRIVER = str(Path(__file__).with_name("driver.py"))


class Stage:
    """`produced` is all that was published, in order; a partition's events are `p0_0`, `p0_1`, ...

    `identifies` are those that teach, and `traits` what every other one has to be sent with.
    """

    def __init__(self, cluster: Cluster, sandbox: Sandbox, start_worker: StartWorker, protocol: str) -> None:
        self.cluster = cluster
        self.sandbox = sandbox
        self.protocol = protocol
        self.group = cluster.unique("group")
        self.topic = ""
        self.produced: list[Stored] = []
        self.identifies: list[str] = []
        self.traits: dict[str, object] = {}
        self._known: dict[tuple[int, str], dict[str, str]] = {}
        self._start_worker = start_worker
        self._client: dict[str, object] = {"partition.assignment.strategy": "range"} if protocol == EAGER else {}

    def make_topic(self, partitions: int) -> None:
        self.topic = self.cluster.make_topic(partitions)

    def shorten_session(self) -> None:
        """For members that start from now on, to what the broker grants at least."""
        if self.protocol == KIP_848:
            self.cluster.set_group_config(self.group, "consumer.session.timeout.ms", str(SESSION_MS))
        else:
            self._client |= {"session.timeout.ms": SESSION_MS, "heartbeat.interval.ms": SESSION_MS // 6}

    def shorten_revocation(self) -> None:
        """For members that start from now on: a partition goes after two seconds, whatever is on the wire."""
        self._client["max.poll.interval.ms"] = POLL_INTERVAL_MS
        if self.protocol != KIP_848:
            self._client["session.timeout.ms"] = POLL_INTERVAL_MS

    def produce(self, count: int, *, partitions: Collection[int] = (0,), identifying: bool = False) -> None:
        """So many events more in each of these partitions; every third of them an `identify`, where asked for."""
        messages = []
        for partition in partitions:
            first = sum(stored.partition == partition for stored in self.produced)
            for number in range(first, first + count):
                if identifying and number % 3 == 1:
                    event = self._identify(partition, number)
                else:
                    event = self._track(partition, number)
                messages.append(Message(event.value, event.key, partition=partition))
        self.produce_messages(messages)

    def _identify(self, partition: int, number: int) -> Message:
        message_id, visitor = f"p{partition}_{number}", f"df_{number % VISITORS}"
        traits = self._known[partition, visitor] = {"email": f"{message_id}@acme.com"}
        self.identifies.append(message_id)
        return signal(message_id, visitor, type="identify", event=None, traits=traits)

    def _track(self, partition: int, number: int) -> Message:
        message_id, visitor = f"p{partition}_{number}", f"df_{number % VISITORS}"
        self.traits[message_id] = self._known.get((partition, visitor))
        return signal(message_id, visitor, properties={"padding": "x" * 200})

    def produce_messages(self, messages: Sequence[Message]) -> None:
        self.produced += self.cluster.produce(self.topic, messages)

    def start(self, *program: str, **settings: str) -> WorkerProcess:
        ours = {
            "KAFKA_TOPICS": self.topic,
            "KAFKA_CONSUMER_GROUP": self.group,
            "KAFKA_GROUP_PROTOCOL": "consumer" if self.protocol == KIP_848 else "classic",
            "KAFKA_CLIENT": json.dumps(self._client | json.loads(settings.pop("KAFKA_CLIENT", "{}"))),
            "DREAMDATA_URL": self.sandbox.url,
            "REQUEST_TIMEOUT_SECONDS": "300",
        }
        return self._start_worker(*program, **{**ours, **settings})

    def start_mortal(
        self, point: Point, *, occurrence: int = 1, number: str = "SIGKILL", **settings: str
    ) -> WorkerProcess:
        """One that sends itself the signal when it reaches the point for the n-th time."""
        return self.start(_DRIVER, point, str(occurrence), number, **settings)

    def committed(self) -> dict[int, int]:
        return self.cluster.committed(self.group, self.topic)

    def is_settled(self, partition: int | None = None) -> bool:
        """Whether all there is, or all of that partition, is committed."""
        committed, ends = self.committed(), self.cluster.end_offsets(self.topic)
        return committed == ends if partition is None else committed.get(partition) == ends[partition]

    def wait_settled(self, timeout_seconds: float = 90) -> None:
        wait_until(self.is_settled, timeout_seconds, f"all is committed: {self.cluster.end_offsets(self.topic)}")

    def audit(self) -> Audit:
        return audit(self.cluster, self.sandbox, self.group, self.produced, filtered=self.identifies)

    def bodies_left_alone(self, *faults: Mapping[str, object]) -> dict[str, set[bytes]]:
        """Every event as one worker sends it that nothing happens to, in a group of its own; by messageId."""
        calm = f"{self.group}-calm"
        with Sandbox(max_events=100_000) as sandbox:
            put_faults(sandbox, *faults)
            worker = self.start(KAFKA_CONSUMER_GROUP=calm, DREAMDATA_URL=sandbox.url)
            ends = self.cluster.end_offsets(self.topic)
            wait_until(lambda: self.cluster.committed(calm, self.topic) == ends, 60, "all is committed once more")
            worker.terminate()
            return bodies(sandbox)

    def at_risk(self, died_at: float, partitions: Collection[int]) -> int:
        """How many events of these partitions may come again when their owner died at that moment."""
        return at_risk(
            self.requests(partitions),
            died_at,
            read_within_seconds=READ_SECONDS,
            answered_within_seconds=ANSWERED_SECONDS,
        )

    def resumed_at(self, died_at: float, partitions: Collection[int]) -> float:
        """When each of these partitions was first worked on again; raises ValueError where one was not."""
        return max(
            min(each.started_at.monotonic for each in self.requests([partition]) if each.started_at.monotonic > died_at)
            for partition in partitions
        )

    def requests(self, partitions: Collection[int]) -> list[Request]:
        """Those with events of these partitions, as far as they came whole."""
        whole = (each for each in self.sandbox.ledger.requests() if each.message_ids)
        return [each for each in whole if partition_of(each.message_ids[0]) in partitions]

    def watch_commits(self, every_seconds: float = 0.05) -> CommitWatch:
        return CommitWatch(self.cluster, self.group, self.topic, every_seconds)

    def watch_identities(self) -> IdentityWatch:
        return IdentityWatch(self.cluster, self.group, self.topic)

    def verify_identities(self, run: Audit, watch: IdentityWatch) -> None:
        """Raises AssertionError unless the log is in step with the offsets, and every event was sent with what was
        known at its place, whenever it was.
        """
        watch.verify(run.places[message_id] for message_id in self.identifies)
        wrong = [each for each in run.deliveries if each.item.get("traits") != self.traits[each.message_id]]
        assert not wrong, f"{wrong[0].message_id} has gone out with {wrong[0].item.get('traits')}"


def partitions_of(worker: WorkerProcess) -> set[int]:
    """What it holds, as its log says."""
    held: set[int] = set()
    for line in worker.log_lines():
        partition = line.get("partition")
        if isinstance(partition, int) and line.get("event") == "partition.assigned":
            held.add(partition)
        elif isinstance(partition, int) and line.get("event") == "partition.revoked":
            held.discard(partition)
    return held


def wait_death(worker: WorkerProcess) -> float:
    """Until it has ended itself by SIGKILL; returns when it did (monotonic)."""
    wait_until(lambda: worker.exit_code is not None, 60, f"it has reached its point\n{worker.log_tail()}")
    if worker.exit_code != -SIGKILL:
        raise WorkerEndedError(f"it ended with {worker.exit_code} instead\n{worker.log_tail()}")
    return float(str(worker.logged("struck")[0]["monotonic"]))


def partition_of(message_id: str) -> int:
    """Where `produce` put it."""
    return int(message_id.removeprefix("p").partition("_")[0])


def number_of(message_id: str) -> int:
    """Its place among the events `produce` put into its partition."""
    return int(message_id.partition("_")[2])
