"""A range sent again: the same events, from a group of its own, and nothing of the live one touched."""

import random
import re
import time
from dataclasses import dataclass, replace

import pytest

from tests.fakes import bodies, delivered_ids, put_faults
from tests.integration.cluster import Cluster, Message
from tests.integration.fixtures import StartWorker
from tests.integration.harness import WorkerProcess, wait_until
from tests.integration.signals import ids, signal, signals
from tests.integration.test_delivery import settled
from tests.integration.test_identity_determinism import traffic
from tests.integration.test_identity_log import identify
from worker.moments import moment_ms
from worker.sandbox import Sandbox

JUNE = moment_ms("2026-06-01")
HOUR = 3_600_000
QUICK_SESSION = '{"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}'
OLD, NEW = {"email": "old@acme.com"}, {"email": "new@acme.com"}


@dataclass(slots=True)
class Stage:
    """A topic, its live group, and the replays of it."""

    cluster: Cluster
    start_worker: StartWorker
    topic: str
    group: str

    def live(self, sandbox: Sandbox, **settings: str) -> None:
        """A worker's life that ends when all is committed."""
        worker = self._start(("run",), sandbox, settings)
        wait_until(lambda: settled(self.cluster, self.group, self.topic), 90, "all is committed")
        assert worker.terminate() == 0

    def start(self, sandbox: Sandbox, *arguments: str, **settings: str) -> WorkerProcess:
        return self._start(("replay", *arguments), sandbox, settings)

    def replay(self, sandbox: Sandbox, *arguments: str, **settings: str) -> str:
        """What it has printed, once it has ended by itself."""
        worker = self.start(sandbox, *arguments, **settings)
        assert worker.wait_exit(100) == 0, worker.log_text()
        return worker.log_text()

    def refused(self, sandbox: Sandbox, *arguments: str) -> str:
        worker = self.start(sandbox, *arguments)
        assert worker.wait_exit(60) == 2, worker.log_text()
        assert "Traceback" not in worker.log_text()
        return worker.log_text()

    def _start(self, program: tuple[str, ...], sandbox: Sandbox, settings: dict[str, str]) -> WorkerProcess:
        usual = {"KAFKA_TOPICS": self.topic, "KAFKA_CONSUMER_GROUP": self.group, "DREAMDATA_URL": sandbox.url}
        return self.start_worker("-m", "worker", *program, **{**usual, **settings})

    def own(self, name: str) -> str:
        return f"{self.group}.replay.{name}"


@pytest.fixture
def stage(cluster: Cluster, topic: str, group: str, start_worker: StartWorker) -> Stage:
    return Stage(cluster, start_worker, topic, group)


def counted(summary: str) -> dict[str, int]:
    """The numbers of a summary's outcomes, `records` among them."""
    found = re.findall(r"^  (\S.*?) +([\d,]+)$", summary, re.MULTILINE)
    return {name: int(number.replace(",", "")) for name, number in found}


def adds_up(summary: str) -> bool:
    numbers = counted(summary)
    return sum(numbers.values()) == 2 * numbers["records"]


def test_a_replay_sends_what_the_live_run_has_sent_event_by_event_and_touches_nothing_of_it(
    cluster: Cluster, group: str, start_worker: StartWorker
) -> None:
    stage = Stage(cluster, start_worker, cluster.make_topic(2), group)
    cluster.produce(stage.topic, [*traffic(random.Random(7))[:2_000], Message(b"not Avro", partition=0)])
    log = f"{group}.{stage.topic}.identity"
    with Sandbox(max_events=100_000) as first, Sandbox(max_events=100_000) as again:
        stage.live(first)
        before = cluster.committed(group, stage.topic), cluster.end_offsets(log)
        summary = stage.replay(again, "--name", "june", "--from", "beginning")
        expected, sent = bodies(first), bodies(again)

    assert sent == expected
    assert sum(b'"traits"' in body for each in sent.values() for body in each) > 100
    assert (cluster.committed(group, stage.topic), cluster.end_offsets(log)) == before
    letters = cluster.read_topic(f"{stage.topic}.dead-letters")
    assert [(letter.headers["dl-group"], letter.headers["dl-reason"]) for letter in letters] == [
        (group, "undecodable")
    ] * 2
    assert adds_up(summary)
    assert counted(summary)["records"] == 2_001
    assert counted(summary)["delivered"] == len(expected)
    assert "the range is done" in summary


def at_hours(*hours: float) -> list[Message]:
    return [
        Message(signal(f"evt_{number}").value, timestamp_ms=JUNE + round(hour * HOUR))
        for number, hour in enumerate(hours)
    ]


def test_a_range_of_time_has_its_first_moment_and_not_its_last(stage: Stage, sandbox: Sandbox) -> None:
    stage.cluster.set_config(stage.topic, "retention.ms", "-1")
    stage.cluster.produce(stage.topic, at_hours(0, 1, 1.999, 2, 3))
    summary = stage.replay(sandbox, "--name", "hour", "--from", "2026-06-01T01:00", "--to", "2026-06-01T04:00:00+02:00")

    assert set(delivered_ids(sandbox)) == {"evt_1", "evt_2"}
    assert "In 2 of 2 offsets; 0 of them hold no record." in summary


def test_only_selected_events_are_sent_with_what_the_others_taught(stage: Stage, sandbox: Sandbox) -> None:
    messages = [identify("evt_0", NEW, "v"), signal("evt_1", "v", event="Signed Up"), signal("evt_2", "v")]
    stage.cluster.produce(stage.topic, messages)
    summary = stage.replay(sandbox, "--name", "leads", "--from", "beginning", "--event", "lead_generated")

    assert [event.item.get("traits") for event in sandbox.ledger.events()] == [NEW]
    assert counted(summary) == {"delivered": 1, "filtered not-selected": 2, "records": 3}


def test_a_range_that_ends_in_transaction_markers_and_gaps_is_done_at_its_end(stage: Stage, sandbox: Sandbox) -> None:
    stage.cluster.produce_in_transaction(stage.topic, signals(5), commit=True)
    stage.cluster.produce_in_transaction(stage.topic, signals(5, prefix="aborted"), commit=False)
    summary = stage.replay(sandbox, "--name", "markers", "--from", "beginning")

    assert stage.cluster.committed(stage.own("markers"), stage.topic) == {0: 12}
    assert delivered_ids(sandbox) == dict.fromkeys(ids(5), 1)
    assert "In 12 of 12 offsets; 7 of them hold no record." in summary


def test_a_replay_killed_in_the_middle_goes_on_where_it_was_and_its_summary_tells_of_all(
    stage: Stage, sandbox: Sandbox
) -> None:
    put_faults(sandbox, {"delay_ms": 100})
    stage.cluster.produce(stage.topic, signals(2_000))
    arguments = ("--name", "june", "--from", "beginning")
    settings = {"BATCH_MAX_EVENTS": "50", "KAFKA_CLIENT": QUICK_SESSION}
    first = stage.start(sandbox, *arguments, **settings)
    wait_until(
        lambda: stage.cluster.committed(stage.own("june"), stage.topic).get(0, 0) > 200, 60, "it is in the middle"
    )
    first.kill()
    put_faults(sandbox)
    refusal = stage.refused(sandbox, "--name", "june", "--from", "2026-06-01")
    assert "june has the range --from beginning, not --from 2026-06-01" in refusal
    stage.cluster.produce(stage.topic, signals(10, prefix="later"))

    summary = stage.replay(sandbox, "--name", "june", **settings)

    assert set(delivered_ids(sandbox)) == ids(2_000), "the end is what it was when it began"
    assert sum(delivered_ids(sandbox).values()) <= 2_100, "what was in flight, once more"
    assert counted(summary) == {"delivered": 2_000, "records": 2_000}
    assert "This process's part: delivered 1," in summary
    again = stage.replay(sandbox, *arguments)
    assert "the range is done" in again
    assert sum(delivered_ids(sandbox).values()) <= 2_100, "nothing is sent twice for asking"


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_processes_of_one_name_share_the_partitions_and_end_together(
    cluster: Cluster, group: str, sandbox: Sandbox, start_worker: StartWorker, protocol: str
) -> None:
    stage = Stage(cluster, start_worker, cluster.make_topic(4), group)
    put_faults(sandbox, {"delay_ms": 150})
    cluster.produce(
        stage.topic, [Message(each.value, partition=number % 4) for number, each in enumerate(signals(4_000))]
    )
    settings = {"BATCH_MAX_EVENTS": "25", "KAFKA_GROUP_PROTOCOL": protocol}
    both = [stage.start(sandbox, "--name", "shared", "--from", "beginning", **settings) for _ in range(2)]

    assert [each.wait_exit(100) for each in both] == [0, 0]
    assert set(delivered_ids(sandbox)) == ids(4_000)
    assert all(worker.logged("batch.delivered") for worker in both), "both have worked"
    assert [counted(worker.log_text()) for worker in both] == [{"delivered": 4_000, "records": 4_000}] * 2


def test_one_process_takes_over_from_another_that_dies(
    cluster: Cluster, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    stage = Stage(cluster, start_worker, cluster.make_topic(2), group)
    put_faults(sandbox, {"delay_ms": 200})
    cluster.produce(
        stage.topic, [Message(each.value, partition=number % 2) for number, each in enumerate(signals(2_000))]
    )
    settings = {"BATCH_MAX_EVENTS": "20", "KAFKA_CLIENT": QUICK_SESSION}
    both = [stage.start(sandbox, "--name", "shared", "--from", "beginning", **settings) for _ in range(2)]
    wait_until(lambda: all(worker.logged("batch.delivered") for worker in both), 60, "both are at work")
    both[0].kill()
    put_faults(sandbox)

    assert both[1].wait_exit(100) == 0
    assert set(delivered_ids(sandbox)) == ids(2_000)
    assert counted(both[1].log_text()) == {"delivered": 2_000, "records": 2_000}


def test_sigterm_in_the_middle_ends_with_0_says_what_is_left_and_nothing_is_sent_twice(
    stage: Stage, sandbox: Sandbox
) -> None:
    put_faults(sandbox, {"delay_ms": 100})
    stage.cluster.produce(stage.topic, signals(8_000))
    worker = stage.start(sandbox, "--name", "june", "--from", "beginning", BATCH_MAX_EVENTS="50")
    wait_until(lambda: len(delivered_ids(sandbox)) > 200, 60, "it is in the middle")
    assert worker.terminate() == 0
    assert "To go on: replay --name june" in worker.log_text()
    put_faults(sandbox)
    stage.replay(sandbox, "--name", "june")

    assert delivered_ids(sandbox) == dict.fromkeys(ids(8_000), 1)


def test_a_rate_is_kept(stage: Stage, sandbox: Sandbox) -> None:
    stage.cluster.produce(stage.topic, signals(600))
    worker = stage.start(sandbox, "--name", "slow", "--from", "beginning", "--rate", "100")
    wait_until(lambda: delivered_ids(sandbox), 60, "the first")
    assert worker.wait_exit(60) == 0
    times = [event.received_at.monotonic for event in sandbox.ledger.events()]

    assert set(delivered_ids(sandbox)) == ids(600)
    assert max(times) - min(times) >= 4.0


def test_a_stop_does_not_wait_for_what_the_rate_still_keeps_back(stage: Stage, sandbox: Sandbox) -> None:
    stage.cluster.produce(stage.topic, signals(1_000))
    arguments = ("--name", "slow", "--from", "beginning")
    worker = stage.start(sandbox, *arguments, "--rate", "20", SHUTDOWN_TIMEOUT_SECONDS="60")
    wait_until(lambda: delivered_ids(sandbox), 60, "the first")
    asked_at = time.monotonic()
    assert worker.terminate() == 0
    seconds = time.monotonic() - asked_at

    assert seconds < 20, "half the shutdown's time, and no answer was outstanding"
    assert worker.logged("replay.stopping")
    stage.replay(sandbox, *arguments)
    assert delivered_ids(sandbox) == dict.fromkeys(ids(1_000), 1)


def test_what_retention_takes_while_it_runs_is_counted_and_the_end_is_reached(stage: Stage, sandbox: Sandbox) -> None:
    stage.cluster.produce(stage.topic, signals(3_000))
    put_faults(sandbox, {"delay_ms": 20_000, "count": 1})
    worker = stage.start(sandbox, "--name", "late", "--from", "beginning", "--rate", "100", BATCH_MAX_EVENTS="50")
    wait_until(lambda: sandbox.ledger.in_flight, 60, "it is at work")
    worker.kill()
    put_faults(sandbox)
    stage.cluster.delete_records(stage.topic, 0, 3_000)

    summary = stage.replay(sandbox, "--name", "late")
    assert "3,000 offsets were deleted by retention before being read" in summary
    assert stage.cluster.committed(stage.own("late"), stage.topic) == {0: 3_000}
    assert "In 3,000 of 3,000 offsets; 0 of them hold no record." in summary


@pytest.mark.parametrize("before_offset", [5_000, 6_000], ids=["most of it", "all of it"])
def test_records_deleted_under_a_replay_are_counted_and_it_ends_at_its_end(
    stage: Stage, sandbox: Sandbox, before_offset: int
) -> None:
    put_faults(sandbox, {"status": 503})
    stage.cluster.produce(stage.topic, signals(6_000))
    worker = stage.start(sandbox, "--name", "late", "--from", "beginning", BATCH_MAX_EVENTS="100")
    wait_until(lambda: worker.is_ready() and worker.metrics().value("paused_partitions") == 1, 60, "it is paused")
    stage.cluster.delete_records(stage.topic, 0, before_offset)
    put_faults(sandbox)

    assert worker.wait_exit(100) == 0
    [line] = worker.logged("partition.offsets_lost")
    assert len(delivered_ids(sandbox)) + int(str(line["lost"])) == 6_000, "delivered or said to be lost, all of them"
    assert f"{line['lost']:,} offsets were deleted by retention" in worker.log_text()
    assert "In 6,000 of 6,000 offsets; 0 of them hold no record." in worker.log_text()


@pytest.mark.soak  # a stock cleaner looks every 15 s
def test_a_compacted_topic_is_replayed_to_its_end_gaps_and_all(
    cluster: Cluster, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    topic = cluster.make_topic(
        cleanup_policy="compact", segment_ms="100", min_cleanable_dirty_ratio="0.001", min_compaction_lag_ms="0"
    )
    stage = Stage(cluster, start_worker, topic, group)
    cluster.produce(stage.topic, [replace(message, key=b"the same") for message in signals(20)])

    def compacted() -> bool:
        # only what is in a closed segment is looked at, and only something new closes one
        cluster.produce(stage.topic, [replace(signal("evt_last"), key=b"the same")])
        return cluster.read_topic(stage.topic)[0].record.offset > 0

    wait_until(compacted, 90, "the cleaner has been there")
    end = cluster.end_offsets(stage.topic)[0] - 1
    kept = [each for each in cluster.read_topic(stage.topic) if each.record.offset < end]
    summary = stage.replay(sandbox, "--name", "gaps", "--from-offset", "0", "--to-offset", str(end))

    assert cluster.committed(stage.own("gaps"), stage.topic) == {0: end}
    assert counted(summary).get("records", 0) == len(kept)
    assert f"{end - len(kept)} of them hold no record" in summary


@pytest.mark.parametrize(
    ("warm_up", "traits", "unknown"),
    [
        pytest.param("all", OLD, False, id="earlier records are read"),
        pytest.param("none", None, True, id="nothing earlier is read"),
    ],
)
def test_visitors_are_known_as_of_the_beginning_though_the_log_has_only_later_entries(
    stage: Stage, sandbox: Sandbox, warm_up: str, traits: dict[str, str] | None, *, unknown: bool
) -> None:
    events = [identify("evt_0", OLD, "v"), signal("evt_1", "v"), identify("evt_2", NEW, "v"), signal("evt_3", "v")]
    stage.cluster.produce(stage.topic, events)
    with Sandbox() as live:
        stage.live(live)
    log = f"{stage.group}.{stage.topic}.identity"
    # as compaction leaves it: the last entry alone
    entries = stage.cluster.read_topic(log)
    stage.cluster.delete_records(log, 0, entries[-1].record.offset)
    summary = stage.replay(sandbox, "--name", "later", "--from-offset", "1", "--warm-up", warm_up)

    assert [(event.message_id, event.item.get("traits")) for event in sandbox.ledger.events()] == [
        ("evt_1", traits),
        ("evt_3", NEW),
    ]
    assert ("identity-unknown: 1 visitor of" in summary) is unknown


def test_what_an_operator_had_forgotten_is_not_learned_from_earlier_records(stage: Stage, sandbox: Sandbox) -> None:
    stage.cluster.produce(stage.topic, [identify("evt_0", OLD, "v"), signal("evt_1", "v")])
    with Sandbox() as live:
        stage.live(live)
        forget = stage._start(("identity", "forget", "v", "--yes"), live, {})
        assert forget.wait_exit(60) in (0, 3), forget.log_text()
    stage.cluster.produce(stage.topic, [signal("evt_2", "v")])
    stage.replay(sandbox, "--name", "after", "--from-offset", "1")

    assert [event.item.get("traits") for event in sandbox.ledger.events()] == [None, None]


def test_without_an_identity_log_earlier_records_are_what_is_known_and_none_is_made(
    stage: Stage, sandbox: Sandbox
) -> None:
    stage.cluster.produce(stage.topic, [identify("evt_0", OLD, "v"), signal("evt_1", "v")])
    stage.replay(sandbox, "--name", "fresh", "--from-offset", "1")

    assert [event.item.get("traits") for event in sandbox.ledger.events()] == [OLD]
    assert f"{stage.group}.{stage.topic}.identity" not in stage.cluster.topics()
    assert stage.cluster.committed(stage.group, stage.topic) == {}


def test_a_dry_run_counts_what_would_become_of_the_range_and_leaves_no_trace(stage: Stage, sandbox: Sandbox) -> None:
    stage.cluster.set_config(stage.topic, "retention.ms", "-1")
    stage.cluster.produce(stage.topic, [*at_hours(0, 1, 2), Message(b"not Avro"), signal("no", event="Unheard Of")])
    topics = stage.cluster.topics()
    said = stage.replay(sandbox, "--name", "trial", "--from-offset", "1", "--dry-run")

    assert counted(said) == {"delivered": 2, "dead-lettered undecodable": 1, "filtered unmapped": 1, "records": 4}
    assert "2026-06-01T01:00:00Z" in said
    assert delivered_ids(sandbox) == {}
    assert stage.cluster.topics() == topics
    assert stage.own("trial") not in stage.cluster.groups()


def test_every_thing_wrong_with_a_range_is_said_at_once_and_nothing_is_begun(stage: Stage, sandbox: Sandbox) -> None:
    stage.cluster.produce(stage.topic, signals(3))
    said = stage.refused(sandbox, "--name", "bad", "--from-offset", "0:2", "--from-offset", "5:0", "--to-offset", "9")
    assert "there is no partition 5" in said
    assert "9 is beyond the end" in said
    assert "bad/name" in stage.refused(sandbox, "--name", "bad/name", "--from", "beginning")
    assert "Lead Genrated" in stage.refused(sandbox, "--name", "bad", "--from", "beginning", "--event", "Lead Genrated")
    assert stage.own("bad") not in stage.cluster.groups()


def test_replays_are_listed_and_dropped_but_not_while_they_are_at_work(stage: Stage, sandbox: Sandbox) -> None:
    stage.cluster.produce(stage.topic, signals(1_000))
    put_faults(sandbox, {"delay_ms": 500})
    worker = stage.start(sandbox, "--name", "june", "--from", "beginning", BATCH_MAX_EVENTS="20")
    wait_until(lambda: len(delivered_ids(sandbox)) >= 20, 60, "it is at work")

    listed = stage.replay(sandbox, "list")
    assert re.search(r"^june +1 at work +\d+% +[\d,]+ +[\d,]+ +" + re.escape(stage.topic), listed, re.MULTILINE), listed
    assert "7 days" in listed
    assert "1 process is at work on june" in stage.refused(sandbox, "drop", "june")
    assert worker.terminate() == 0
    assert '"left": ' in stage.replay(sandbox, "list", "--json")
    assert "is gone" in stage.replay(sandbox, "drop", "june")
    assert "there is no replay june" in stage.refused(sandbox, "drop", "june")
    assert "There is no replay." in stage.replay(sandbox, "list")
