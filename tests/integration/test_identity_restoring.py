"""What of the identity log counts where a worker starts: after offsets were moved, deleted or lost, or as it reads."""

from typing import Any

import pytest

from tests.integration.cluster import Cluster, Message
from tests.integration.fixtures import StartWorker
from tests.integration.harness import WorkerProcess, wait_until
from tests.integration.signals import signal
from tests.integration.test_delivery import settled
from tests.integration.test_identity_log import VISITOR, identify, log_of
from worker.core.identity import IdentityChange
from worker.identity_entries import headers_of
from worker.sandbox import Sandbox

OLD, NEW = {"email": "old@acme.com"}, {"email": "new@acme.com"}


class Course:
    """A topic, its group, and the workers that serve it one after the other."""

    def __init__(self, cluster: Cluster, sandbox: Sandbox, start: StartWorker, group: str, topic: str) -> None:
        self.cluster = cluster
        self.group = group
        self.topic = topic
        self._sandbox = sandbox
        self._start = start

    @property
    def log(self) -> str:
        return log_of(self.group, self.topic)

    def start(self, **settings: str) -> WorkerProcess:
        usual = {"KAFKA_TOPICS": self.topic, "KAFKA_CONSUMER_GROUP": self.group, "DREAMDATA_URL": self._sandbox.url}
        return self._start(**{**usual, **settings})

    def settle(self, *messages: Message) -> None:
        """Produces, and waits until all there is is committed."""
        self.cluster.produce(self.topic, messages)
        wait_until(lambda: settled(self.cluster, self.group, self.topic), 60, "all is committed")

    def sent(self, message_id: str) -> list[object]:
        """The traits that this event was sent with, each time."""
        return [each.item.get("traits") for each in self._sandbox.ledger.events() if each.message_id == message_id]

    def live(self, *messages: Message, **settings: str) -> WorkerProcess:
        """One worker's life, in which these arrive; each is committed before the next comes."""
        worker = self.start(**settings)
        for message in messages:
            self.settle(message)
        if not messages:
            self.settle()
        assert worker.terminate() == 0
        return worker


@pytest.fixture
def course(cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker) -> Course:
    return Course(cluster, sandbox, start_worker, group, topic)


def one(message_id: str) -> Message:
    return signal(message_id, VISITOR)


def test_where_a_group_is_moved_back_what_was_known_there_is_known_again(course: Course) -> None:
    course.live(identify("evt_0", OLD), one("evt_1"), identify("evt_2", NEW), one("evt_3"))
    course.cluster.commit(course.group, course.topic, {0: 1})
    course.live()

    assert (course.sent("evt_1"), course.sent("evt_3")) == ([OLD, OLD], [NEW, NEW])


def test_where_the_older_entry_is_compacted_away_the_visitor_is_unknown_until_the_next_identify_and_counted(
    course: Course,
) -> None:
    course.cluster.make_topic(
        1,
        course.log,
        cleanup_policy="compact,delete",
        segment_ms="100",
        min_cleanable_dirty_ratio="0.001",
        max_compaction_lag_ms="1000",
    )
    course.live(identify("evt_0", OLD), one("evt_1"), identify("evt_2", NEW), one("evt_3"))
    # a segment is closed, and so can be cleaned, when something is written behind it once its time is over
    course.cluster.produce(course.log, [Message(b"", b"no visitor")])
    wait_until(lambda: len(of_visitor(course)) == 1, 90, "Kafka has removed the older entry")
    course.cluster.commit(course.group, course.topic, {0: 1})

    worker = course.start()
    course.settle()
    assert (course.sent("evt_1"), course.sent("evt_3")) == ([OLD, None], [NEW, NEW])
    assert worker.metrics().value("identities_skipped_total", reason="compacted") == 1


def of_visitor(course: Course) -> list[Any]:
    key = f"a:{VISITOR}".encode()
    return [stored for stored in course.cluster.read_topic(course.log) if stored.record.key == key]


def test_where_offsets_are_deleted_what_was_learned_before_them_is_known(course: Course) -> None:
    course.live(identify("evt_0", OLD), one("evt_1"))
    course.cluster.produce(course.topic, [one("evt_2"), identify("evt_3", NEW), one("evt_4")])
    course.cluster.delete_records(course.topic, 0, 4)

    worker = course.live()
    assert (course.sent("evt_2"), course.sent("evt_4")) == ([], [OLD])
    assert [line["lost"] for line in worker.logged("partition.offsets_lost")] == [2]


@pytest.mark.parametrize(
    ("reset", "known"), [pytest.param("earliest", [[OLD], [OLD]]), pytest.param("latest", [[OLD], []])]
)
def test_where_nothing_is_committed_what_counts_is_decided_by_where_it_starts(
    course: Course, reset: str, known: list[list[object]]
) -> None:
    """From the beginning on, nothing was known before; from the end on, everything."""
    course.live(one("evt_0"), identify("evt_1", OLD), one("evt_2"))
    course.cluster.delete_group(course.group)

    worker = course.start(KAFKA_AUTO_OFFSET_RESET=reset)
    wait_until(lambda: settled(course.cluster, course.group, course.topic), 60, "all is committed")
    course.settle(one("evt_3"))
    assert course.sent("evt_0") == ([None, None] if reset == "earliest" else [None])
    assert [course.sent("evt_3"), course.sent("evt_2")[1:]] == known
    assert worker.metrics().value("identities") == 1


def test_the_other_partitions_go_on_while_one_restores_and_ready_says_how_far(
    cluster: Cluster, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    course = Course(cluster, sandbox, start_worker, group, cluster.make_topic(partitions=2))
    cluster.make_topic(2, course.log, cleanup_policy="compact,delete")
    entry = Message(b"", f"a:{VISITOR}".encode(), headers_of(IdentityChange(0, f"a:{VISITOR}", None), ""))
    both = [Message(one(f"evt_{number}").value, partition=number) for number in (0, 1)]
    cluster.produce(course.topic, both)
    with cluster.open_transaction(course.log, [entry]) as transaction:
        worker = course.start()
        wait_until(lambda: cluster.committed(group, course.topic).get(1) == 1, 60, "partition 1 is delivered")
        assert not worker.is_ready()
        [reason] = [each for each in worker.ready_reasons() if "restoring visitors" in each]
        assert "0 of 1 entries" in reason
        assert (course.sent("evt_0"), course.sent("evt_1")) == ([], [None])
        transaction.commit()

    course.settle()
    worker.wait_ready()
    assert course.sent("evt_0") == [None]
