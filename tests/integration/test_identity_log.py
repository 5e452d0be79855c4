"""What was learned of a visitor outlives the process: Kafka alone keeps it, in step with the offsets."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.cluster import Cluster, Message
from tests.integration.fixtures import StartWorker
from tests.integration.harness import WorkerProcess, wait_until
from tests.integration.signals import signal
from tests.integration.test_delivery import settled
from tests.integration.test_rebalances import PROTOCOLS
from worker.core.identity import IdentityChange
from worker.core.records import Headers
from worker.identity_entries import headers_by_hand, headers_of
from worker.sandbox import Sandbox

JANE = {"email": "jane.doe@acme.com", "name": "Jane Doe", "company": "Acme Inc"}
VISITOR = "df_8f2a1c9e"
DAY_MS = 24 * 60 * 60 * 1000
STATE = b'["user-1",1780744274000,{"email":"old@acme.com"}]'

Run = Callable[..., WorkerProcess]


def identify(message_id: str, traits: dict[str, Any] | None = None, visitor: str = VISITOR, **fields: Any) -> Message:
    return signal(message_id, visitor, type="identify", event=None, traits=traits or JANE, **fields)


def log_of(group: str, topic: str) -> str:
    return f"{group}.{topic}.identity"


@pytest.fixture
def run(start_worker: StartWorker, topic: str, group: str, sandbox: Sandbox) -> Run:
    def run(**settings: str) -> WorkerProcess:
        return start_worker(
            **{"KAFKA_TOPICS": topic, "KAFKA_CONSUMER_GROUP": group, "DREAMDATA_URL": sandbox.url, **settings}
        )

    return run


@pytest.fixture
def delivered(cluster: Cluster, topic: str, group: str, sandbox: Sandbox) -> Callable[..., dict[str, object]]:
    """Produces, waits until all is committed; returns the traits of every event delivered so far, by messageId."""

    def delivered(*messages: Message) -> dict[str, object]:
        cluster.produce(topic, messages)
        wait_until(lambda: settled(cluster, group, topic), 60, "all is committed")
        return {event.message_id: event.item.get("traits") for event in sandbox.ledger.events()}

    return delivered


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_traits_learned_before_a_restart_ride_on_events_after_it(
    run: Run, delivered: Callable[..., dict[str, object]], protocol: dict[str, str]
) -> None:
    first = run(**protocol)
    assert delivered(identify("evt_1"), signal("evt_2", VISITOR)) == {"evt_2": JANE}
    assert first.terminate() == 0

    run(**protocol)
    assert delivered(signal("evt_3", VISITOR), signal("evt_4", "df_other"))["evt_3"] == JANE
    assert delivered()["evt_4"] is None


def test_a_killed_worker_knows_no_more_than_what_its_offset_says(
    cluster: Cluster, topic: str, group: str, run: Run, delivered: Callable[..., dict[str, object]]
) -> None:
    first = run()
    delivered(signal("evt_1", VISITOR), identify("evt_2"), signal("evt_3", VISITOR))
    first.kill()
    cluster.commit(group, topic, {0: 0})

    run()
    assert delivered(signal("evt_4", VISITOR)) == {"evt_1": None, "evt_3": JANE, "evt_4": JANE}


def test_the_log_is_made_as_documented_with_as_many_partitions_as_its_source(
    cluster: Cluster, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    topic = cluster.make_topic(partitions=3)
    worker = start_worker(
        KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url, IDENTITY_TTL_DAYS="10"
    )
    worker.wait_ready()
    config = cluster.config(log_of(group, topic))

    assert config["cleanup.policy"] == "compact,delete"
    assert config["message.timestamp.type"] == "LogAppendTime"
    assert config["retention.ms"] == str(40 * DAY_MS)
    assert config["max.compaction.lag.ms"] == str(7 * DAY_MS), "the forgotten are gone from the disks by then"
    assert config["delete.retention.ms"] == str(30 * DAY_MS), "a worker that was down hears of them"
    assert len(cluster.end_offsets(log_of(group, topic))) == 3


def test_a_log_with_fewer_partitions_than_its_source_is_given_them_at_the_start(
    cluster: Cluster, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    topic = cluster.make_topic(partitions=3)
    cluster.make_topic(1, log_of(group, topic), cleanup_policy="compact,delete", retention_ms="-1")
    worker = start_worker(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url)
    wait_until(lambda: len(cluster.end_offsets(log_of(group, topic))) == 3, 30, "it has as many partitions")
    worker.wait_ready()
    assert any("visitors" in str(line["detail"]).lower() for line in worker.logged("topic.doubted"))


def test_a_log_that_would_lose_what_it_holds_is_a_hold_until_it_is_mended(
    cluster: Cluster, topic: str, group: str, run: Run, delivered: Callable[..., dict[str, object]]
) -> None:
    cluster.make_topic(1, log_of(group, topic), cleanup_policy="delete")
    worker = run()
    wait_until(lambda: worker.is_held("identity-refused"), 30, "it holds")
    assert any("cleanup.policy=delete" in reason for reason in worker.ready_reasons())
    assert cluster.committed(group, topic) == {}

    cluster.set_config(log_of(group, topic), "cleanup.policy", "compact")
    assert delivered(identify("evt_1"), signal("evt_2", VISITOR)) == {"evt_2": JANE}
    assert not worker.is_held("identity-refused")


def test_a_refused_entry_holds_the_partition_and_its_offset_until_it_is_mended(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, run: Run, delivered: Callable[..., dict[str, object]]
) -> None:
    cluster.make_topic(1, log_of(group, topic), cleanup_policy="compact", max_message_bytes="200")
    worker = run()
    worker.wait_ready()
    cluster.produce(topic, [identify("evt_1", {"email": "x" * 500}), signal("evt_2", VISITOR)])
    wait_until(lambda: worker.is_held("identity-refused"), 30, "it holds")
    assert cluster.committed(group, topic) in ({}, {0: 0})

    cluster.set_config(log_of(group, topic), "max.message.bytes", "1000000")
    assert delivered() == {"evt_2": {"email": "x" * 500}}


def test_entries_that_cannot_be_read_are_skipped_and_counted(
    cluster: Cluster, topic: str, group: str, run: Run, delivered: Callable[..., dict[str, object]]
) -> None:
    first = run()
    delivered(identify("evt_1"))
    first.terminate()
    headers: Headers = (("source-offset", b"0"),)
    garbage = [
        Message(STATE[:-5], b"a:df_x", headers),
        Message(b"\xff\x00", b"a:df_x", headers),
        Message(STATE, b"nobody", headers),
        Message(STATE, b"a:df_x"),
    ]
    cluster.produce(log_of(group, topic), garbage)

    worker = run()
    assert delivered(signal("evt_2", VISITOR), signal("evt_3", "df_x")) == {"evt_2": JANE, "evt_3": None}
    assert worker.metrics().value("identities_skipped_total", reason="unreadable") == 4


def test_a_topic_made_anew_begins_without_the_visitors_of_the_old_one(
    cluster: Cluster, topic: str, group: str, run: Run, delivered: Callable[..., dict[str, object]]
) -> None:
    first = run()
    delivered(identify("evt_1"))
    first.terminate()
    cluster.delete_topic(topic)
    cluster.make_topic(name=topic)

    run()
    assert delivered(signal("evt_2", VISITOR)) == {"evt_2": None}


def test_an_explicit_denial_leaves_a_tombstone_and_nothing_is_known_after_a_restart(
    cluster: Cluster, topic: str, group: str, run: Run, delivered: Callable[..., dict[str, object]]
) -> None:
    denied = {"consent": {"analytics": True, "marketing": False}}
    first = run()
    delivered(identify("evt_1"), signal("evt_2", VISITOR, context=denied))
    first.terminate()

    assert cluster.read_topic(log_of(group, topic))[-1].record.value is None
    run()
    assert delivered(signal("evt_3", VISITOR))["evt_3"] is None


def test_an_operator_s_tombstone_is_obeyed_by_the_running_owner_and_answered(
    cluster: Cluster, topic: str, group: str, run: Run, delivered: Callable[..., dict[str, object]]
) -> None:
    first = run()
    assert delivered(identify("evt_1"), signal("evt_2", VISITOR))["evt_2"] == JANE
    end = cluster.end_offsets(topic)[0]
    cluster.produce(log_of(group, topic), [Message(None, f"a:{VISITOR}".encode(), headers_by_hand(end, ""))])
    wait_until(lambda: first.logged("visitor.forgotten"), 30, "the owner has heard of it")
    assert delivered(signal("evt_3", VISITOR))["evt_3"] is None
    answers = cluster.read_topic(log_of(group, topic))[-1]
    assert (answers.record.value, answers.headers["forgotten-until"]) == (None, str(end))
    assert first.terminate() == 0

    run()
    assert delivered(signal("evt_4", VISITOR), identify("evt_5"), signal("evt_6", VISITOR))["evt_4"] is None
    assert delivered()["evt_6"] == JANE, "what is learned afterwards counts again"


def test_a_restore_waits_for_a_transaction_of_the_former_owner(
    cluster: Cluster, topic: str, group: str, run: Run, delivered: Callable[..., dict[str, object]]
) -> None:
    first = run()
    delivered(identify("evt_1"), signal("evt_2", VISITOR))
    first.terminate()
    entry = Message(b'["u",1780744274000,{"email":"new@acme.com"}]', f"a:{VISITOR}".encode())
    headers = headers_of(IdentityChange(0, f"a:{VISITOR}", None), first_topic_id(cluster, group, topic))
    with cluster.open_transaction(log_of(group, topic), [Message(entry.value, entry.key, headers)]) as transaction:
        second = run()
        wait_until(lambda: _is_restoring(second), 30, "it waits for the open transaction")
        cluster.produce(topic, [signal("evt_3", VISITOR)])
        transaction.commit()

    assert delivered()["evt_3"] == {"email": "new@acme.com"}


def first_topic_id(cluster: Cluster, group: str, topic: str) -> str:
    return cluster.read_topic(log_of(group, topic))[0].headers["source-topic-id"]


def _is_restoring(worker: WorkerProcess) -> bool:
    try:
        return any("restoring visitors" in reason for reason in worker.ready_reasons())
    except OSError:
        return False
