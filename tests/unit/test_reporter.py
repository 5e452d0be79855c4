from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from tests.builders import SCHEMA, TP, answer, batch, event, item, pipeline, record, tap, tp
from worker.complaints import TROUBLE_SECONDS
from worker.core.commands import Commit, LaneCommit
from worker.core.outcomes import Answer, DeadLetter, HoldReason, Outcome, Reason, Stage, left_out
from worker.core.pipeline import Pipeline
from worker.core.records import TopicPartition
from worker.core.start_offsets import Start
from worker.metrics import Metrics
from worker.reporter import ALIVE_SECONDS, GAUGES_INTERVAL_SECONDS, Reporter

SECRET = "jane.doe@acme.com"
NOT_ASSIGNED = "waiting for the first assignment of the group"

Line = Mapping[str, Any]


class Rig:
    """A reporter on a clock set by hand, the metrics it sets, and the lines it has written."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.now = 0.0
        self.lines = lines
        self.metrics = Metrics()
        self.tap = tap()
        self.reporter = Reporter(self.metrics, self.tap, lambda: self.now)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"dreamdata_worker_{name}", labels)

    def named(self, event: str) -> list[Line]:
        return [line for line in self.lines if line["event"] == event]

    def turn(self, made: Pipeline, *, joined: bool = True) -> tuple[str, ...]:
        """One turn of the loop, late enough to be looked at; returns why it is not ready."""
        self.now += GAUGES_INTERVAL_SECONDS
        self.reporter.turned(made, self.now, joined=joined)
        return self.reporter.reasons()


@pytest.fixture
def rig() -> Iterator[Rig]:
    with capture_logs() as lines:
        yield Rig(lines)


def letter(offset: int = 0, reason: Reason = Reason.UNDECODABLE) -> DeadLetter:
    return DeadLetter(record(offset, SECRET.encode()), reason, Stage.DECODE, "no known framing", 0.0)


def commit(*letters: DeadLetter, partition: int = 0, **outcomes: int) -> Commit:
    """What a transaction of one lane settles; `outcomes` are filtered records by reason, with `_` for `-`."""
    counted = Counter({(Outcome.FILTERED, Reason(name.replace("_", "-"))): many for name, many in outcomes.items()})
    counted.update((Outcome.DEAD_LETTERED, each.reason) for each in letters)
    return Commit((LaneCommit(tp(partition), 1, 100, spans=1, dead_letters=letters, outcomes=counted),))


def reading(*, position: int = 0, committed: int | None = 0) -> Pipeline:
    made = pipeline()
    made.assigned([TP])
    made.restored(TP, position, committed)
    return made


def test_every_record_of_a_commit_is_counted_under_its_outcome(rig: Rig) -> None:
    delivered: Counter[tuple[Outcome, Reason]] = Counter({(Outcome.DELIVERED, Reason.DELIVERED): 7})
    settled = commit(letter(), unmapped=2, no_consent=3)
    rig.reporter.committed(Commit((*settled.lanes, LaneCommit(tp(1), 1, 7, outcomes=delivered))))
    assert rig.metric("records_total", outcome="filtered", reason="unmapped") == 2
    assert rig.metric("records_total", outcome="filtered", reason="no-consent") == 3
    assert rig.metric("records_total", outcome="dead_lettered", reason="undecodable") == 1
    assert rig.metric("records_total", outcome="delivered", reason="") == 7


def test_a_commit_is_counted_once(rig: Rig) -> None:
    rig.reporter.committed(commit(unmapped=1))
    assert (rig.metric("commits_total", result="ok"), rig.metric("commits_total", result="error")) == (1, 0)


def test_a_failed_commit_counts_no_record(rig: Rig) -> None:
    rig.reporter.commit_failed(commit(unmapped=1), "fenced")
    assert (rig.metric("commits_total", result="ok"), rig.metric("commits_total", result="error")) == (0, 1)
    assert rig.metric("records_total", outcome="filtered", reason="unmapped") is None


def test_delivered_events_are_counted_by_name_and_identity(rig: Rig) -> None:
    delivered = Counter({("lead_generated", True): 2, ("page", False): 5})
    rig.reporter.committed(Commit((LaneCommit(TP, 1, 7, delivered=delivered),)))
    assert rig.metric("events_delivered_total", event="lead_generated", identified="true") == 2
    assert rig.metric("events_delivered_total", event="page", identified="false") == 5


def test_an_answer_is_counted_and_measured(rig: Rig) -> None:
    sent = batch(item(0), item(1))
    rig.reporter.answered(sent, answer(200, at=3.0, started_at=1.0))
    assert rig.metric("requests_total", status="200") == 1
    assert rig.metric("request_seconds_sum") == 2.0
    assert rig.metric("request_body_bytes_sum") == sent.size
    assert rig.metric("batch_events_sum") == 2
    assert rig.metric("retries_total", cause="200") is None


@pytest.mark.parametrize(("status", "label"), [(429, "429"), (503, "503"), (None, "timeout")])
def test_a_retry_is_counted_by_its_cause(rig: Rig, status: int | None, label: str) -> None:
    rig.reporter.answered(batch(), answer(status))
    assert rig.metric("requests_total", status=label) == 1
    assert rig.metric("retries_total", cause=label) == 1


def test_a_delivered_batch_says_its_offsets(rig: Rig) -> None:
    rig.reporter.answered(batch(item(4), item(6)), answer(200))
    (line,) = rig.named("batch.delivered")
    assert (line["topic"], line["partition"]) == TP
    assert (line["first_offset"], line["next_offset"], line["events"], line["status"]) == (4, 7, 2, "200")


def test_retries_of_one_cause_have_one_line_a_minute(rig: Rig) -> None:
    for _ in range(5):
        rig.reporter.answered(batch(), answer(503))
    rig.now = 60.0
    rig.reporter.answered(batch(), answer(503))
    assert [line["not_logged"] for line in rig.named("batch.retried")] == [0, 4]
    assert rig.metric("retries_total", cause="503") == 6


def test_retries_of_another_cause_have_a_line_of_their_own(rig: Rig) -> None:
    for status in (503, 429, None):
        rig.reporter.answered(batch(), answer(status))
    assert [line["status"] for line in rig.named("batch.retried")] == ["503", "429", "timeout"]


def test_successes_in_between_make_no_line_more_of_retries(rig: Rig) -> None:
    for status in (503, 200, 503, 200, 503):
        rig.reporter.answered(batch(), answer(status))
    assert len(rig.named("batch.retried")) == 1


def test_where_no_answer_came_the_line_says_what_the_network_said(rig: Rig) -> None:
    rig.reporter.answered(batch(), Answer(None, 0.0, 1.0, "connection refused", failure="no-answer"))
    assert rig.named("batch.retried")[0]["detail"] == "connection refused"


def test_a_refused_batch_has_a_line(rig: Rig) -> None:
    rig.reporter.answered(batch(), answer(400))
    assert rig.named("batch.rejected")[0]["status"] == "400"


def test_a_hold_says_its_status_and_what_to_do(rig: Rig) -> None:
    rig.reporter.answered(batch(), answer(403))
    rig.reporter.held([HoldReason.UNAUTHORIZED])
    (line,) = rig.named("delivery.held")
    assert (line["log_level"], line["reason"], line["status"]) == ("error", "unauthorized", "403")
    assert "Server Side Analytics APIs" in line["detail"]


def test_the_end_of_a_hold_has_a_line(rig: Rig) -> None:
    rig.reporter.resumed()
    assert len(rig.named("delivery.resumed")) == 1


def test_dead_letters_have_one_line_a_second_that_counts_those_kept_back(rig: Rig) -> None:
    rig.reporter.committed(commit(*map(letter, range(5))))
    rig.now = 1.0
    rig.reporter.committed(commit(letter(5)))
    assert [(line["offset"], line["not_logged"]) for line in rig.named("record.dead_lettered")] == [(0, 0), (5, 4)]


def test_dead_letters_of_another_lane_or_reason_have_lines_of_their_own(rig: Rig) -> None:
    rig.reporter.committed(commit(letter(0), letter(1, Reason.INVALID_EVENT)))
    rig.reporter.committed(commit(letter(2), partition=1))
    lines = rig.named("record.dead_lettered")
    assert [(line["partition"], line["reason"]) for line in lines] == [
        (0, "undecodable"),
        (0, "invalid-event"),
        (1, "undecodable"),
    ]


def test_a_dead_letter_says_where_it_was_and_why(rig: Rig) -> None:
    rig.reporter.committed(commit(letter(9)))
    (line,) = rig.named("record.dead_lettered")
    assert (line["topic"], line["partition"], line["offset"]) == (*TP, 9)
    assert (line["reason"], line["stage"], line["detail"]) == ("undecodable", "decode", "no known framing")


def test_what_a_redrive_leaves_out_is_no_dead_letter_of_its_own(rig: Rig) -> None:
    rig.reporter.committed(commit(left_out(record(9), Reason.FOREIGN, 0.0)))
    assert rig.named("record.dead_lettered") == []


@pytest.mark.parametrize("reason", ["no_consent", "consent_denied", "unmapped"])
def test_filtered_records_that_somebody_may_miss_have_one_line_a_minute(rig: Rig, reason: str) -> None:
    for _ in range(3):
        rig.reporter.committed(commit(**{reason: 2}))
    rig.now = 60.0
    rig.reporter.committed(commit(**{reason: 2}))
    assert [line["records"] for line in rig.named("records.filtered")] == [2, 6]


@pytest.mark.parametrize("reason", ["absorbed", "null_value", "switched_off"])
def test_filtered_records_that_nobody_misses_have_no_line(rig: Rig, reason: str) -> None:
    rig.reporter.committed(commit(**{reason: 2}))
    assert rig.named("records.filtered") == []


def speak(reporter: Reporter) -> None:
    """Lets it report everything it knows a line for, about records, answers and traits that hold `SECRET`."""
    told = batch(msgspec.structs.replace(item(), record=record(0, SECRET.encode()), payload=SECRET.encode()))
    for status in (200, 400, 403, 404, 413, 429, 500):
        reporter.answered(told, answer(status, body=SECRET))
    reporter.held(list(HoldReason))
    reporter.committed(commit(letter(), no_consent=1))
    reporter.commit_failed(commit(letter()), "fenced")
    heard = event(traits={"email": SECRET}, properties={"email": SECRET})
    for decision in (Reason.UNMAPPED, letter(), item()):
        reporter.decided(TP, record(0, SECRET.encode()), heard, decision)


def test_no_line_holds_a_payload_a_trait_or_an_answers_text(rig: Rig) -> None:
    speak(rig.reporter)
    assert len(rig.lines) > 10
    assert SECRET not in repr(rig.lines)


@pytest.mark.parametrize(
    ("decision", "line", "reason"),
    [
        pytest.param(Reason.UNMAPPED, "event.filtered", "unmapped", id="filtered"),
        pytest.param(letter(5, Reason.TOO_LARGE), "event.dead_lettered", "too-large", id="dead letter"),
    ],
)
def test_an_event_that_is_not_sent_has_a_debug_line(
    rig: Rig, decision: Reason | DeadLetter, line: str, reason: str
) -> None:
    rig.reporter.decided(TP, record(5), event(message_id="evt_5"), decision)
    (found,) = rig.named(line)
    assert (found["log_level"], found["message_id"], found["offset"], found["reason"]) == ("debug", "evt_5", 5, reason)


def test_a_record_without_an_event_has_no_debug_line(rig: Rig) -> None:
    rig.reporter.decided(TP, record(5), None, letter(5))
    assert rig.lines == []


def test_an_event_that_will_be_sent_has_its_line_when_it_is_delivered(rig: Rig) -> None:
    rig.reporter.decided(TP, record(5), event(), item(5))
    assert rig.lines == []
    rig.reporter.answered(batch(item(5)), answer(200))
    assert [line["message_id"] for line in rig.named("event.delivered")] == ["evt_5"]


@pytest.mark.parametrize(
    ("repeat", "line"),
    [
        pytest.param(lambda told: told.commit_failed(commit(), "fenced"), "commit.failed", id="commit"),
        pytest.param(lambda told: told.schema_unavailable(SCHEMA, "500"), "schema.unavailable", id="schema"),
        pytest.param(
            lambda told: told.kafka_trouble("all brokers down", 0.0, cause=True), "kafka.unavailable", id="Kafka"
        ),
        pytest.param(lambda told: told.topics_missing(["delivery-x"]), "topic.missing", id="topic"),
        pytest.param(lambda told: told.own_topics_seen(["no right"], []), "topic.refused", id="own topic"),
    ],
)
def test_what_lasts_is_said_once_a_minute(rig: Rig, repeat: Callable[[Reporter], None], line: str) -> None:
    for rig.now in (0.0, 1.0, 59.9):
        repeat(rig.reporter)
    assert len(rig.named(line)) == 1
    rig.now = 60.0
    repeat(rig.reporter)
    assert len(rig.named(line)) == 2


def test_before_the_first_turn_it_is_not_ready(rig: Rig) -> None:
    assert rig.reporter.reasons() == (NOT_ASSIGNED,)


def test_a_spare_member_is_ready(rig: Rig) -> None:
    assert rig.turn(pipeline(), joined=True) == ()


def test_until_the_group_takes_it_in_it_is_not_ready(rig: Rig) -> None:
    assert rig.turn(pipeline(), joined=False) == (NOT_ASSIGNED,)


def test_what_the_pipeline_says_appears_and_vanishes(rig: Rig) -> None:
    made = pipeline()
    made.assigned([TP])
    assert rig.turn(made) == (f"{TP}: looking up where to start",)
    made.restored(TP, 0, 0)
    assert rig.turn(made) == ()


def test_a_missing_topic_is_a_reason_until_it_is_there(rig: Rig) -> None:
    rig.reporter.topics_missing(["delivery-x"])
    (reason,) = rig.turn(pipeline())
    assert "delivery-x" in reason
    rig.reporter.topics_missing([])
    assert rig.turn(pipeline()) == ()


def test_a_refused_topic_of_its_own_is_a_reason_until_it_is_mended(rig: Rig) -> None:
    rig.reporter.own_topics_seen(["delivery-a.dead-letters: no right to make it"], [])
    assert rig.turn(pipeline()) == ("delivery-a.dead-letters: no right to make it",)
    rig.reporter.own_topics_seen([], [])
    assert rig.turn(pipeline()) == ()


def test_a_doubt_about_an_own_topic_is_a_line_and_no_reason(rig: Rig) -> None:
    rig.reporter.own_topics_seen([], ["delivery-a.dead-letters keeps its records for an hour"])
    assert len(rig.named("topic.doubted")) == 1
    assert rig.turn(pipeline()) == ()


def test_kafkas_trouble_is_a_reason_until_it_has_been_silent_for_a_while(rig: Rig) -> None:
    rig.reporter.kafka_trouble("all brokers down", rig.now, cause=True)
    assert rig.turn(pipeline()) == ("Kafka: all brokers down",)
    assert rig.reporter.kafka_in_trouble(TROUBLE_SECONDS - 0.1)
    rig.now = TROUBLE_SECONDS
    assert rig.turn(pipeline()) == ()
    assert not rig.reporter.kafka_in_trouble(TROUBLE_SECONDS)


def test_gauges_follow_the_pipeline(rig: Rig) -> None:
    made = reading()
    made.lanes[TP].paused = True
    made.gate.forbid(HoldReason.UNAUTHORIZED, probe=False, at_once=False, now=0.0)
    rig.turn(made)
    assert rig.metric("held", reason="unauthorized") == 1
    assert rig.metric("held", reason="wrong-address") == 0
    assert rig.metric("paused_partitions") == 1


def test_a_hold_that_has_ended_is_0_again(rig: Rig) -> None:
    made = reading()
    made.gate.forbid(HoldReason.UNAUTHORIZED, probe=False, at_once=False, now=0.0)
    rig.turn(made)
    made.gate.taken(probe=True, now=1.0)
    rig.turn(made)
    assert rig.metric("held", reason="unauthorized") == 0


def test_a_turn_right_after_another_is_not_looked_at(rig: Rig) -> None:
    made = reading()
    rig.turn(made)
    made.lanes[TP].paused = True
    rig.reporter.turned(made, rig.now + GAUGES_INTERVAL_SECONDS / 2, joined=False)
    assert rig.metric("paused_partitions") == 0
    assert rig.reporter.reasons() == ()


LAG = {"topic": TP.topic, "partition": str(TP.partition)}


@pytest.mark.parametrize(
    ("ends", "lag"),
    [
        pytest.param({TP: 120}, 90, id="the end that was seen"),
        pytest.param({TP: 50}, 40, id="read further than it"),
        pytest.param({}, 40, id="no end seen yet"),
        pytest.param({tp(1): 500}, 40, id="the end of another"),
    ],
)
def test_lag_is_the_end_less_what_is_committed(rig: Rig, ends: dict[TopicPartition, int], lag: float) -> None:
    rig.reporter.ends_seen(ends)
    rig.turn(reading(position=70, committed=30))
    assert rig.metric("consumer_lag", **LAG) == lag


def test_a_revoked_partition_has_no_lag_any_more(rig: Rig) -> None:
    made = reading(position=70, committed=30)
    rig.reporter.ends_seen({TP: 120})
    rig.turn(made)
    made.revoked([TP])
    rig.reporter.revoked([TP])
    rig.turn(made)
    assert rig.metric("consumer_lag", **LAG) is None
    assert TP not in rig.reporter.ends


def test_a_partition_that_was_never_read_can_be_revoked(rig: Rig) -> None:
    rig.reporter.revoked([TP])
    assert [line["partition"] for line in rig.named("partition.revoked")] == [0]


def test_each_rebalance_is_counted_once_and_each_partition_named(rig: Rig) -> None:
    rig.reporter.assigned([tp(0), tp(1)])
    rig.reporter.revoked([tp(1)])
    assert rig.metric("rebalances_total") == 2
    assert [line["partition"] for line in rig.named("partition.assigned")] == [0, 1]


@pytest.mark.parametrize(
    ("start", "line", "level"),
    [
        pytest.param(Start(5, 5), "partition.started", "info", id="committed"),
        pytest.param(Start(100, 40, lost=60), "partition.offsets_lost", "error", id="lost"),
        pytest.param(Start(200, 900, beyond=True), "partition.started_at_end", "error", id="beyond"),
    ],
)
def test_where_a_partition_starts_is_said_loudly_if_anything_was_lost(
    rig: Rig, start: Start, line: str, level: str
) -> None:
    rig.reporter.started(TP, start)
    (found,) = rig.lines
    assert (found["event"], found["log_level"]) == (line, level)
    assert (found["offset"], found["committed"]) == (start.offset, start.committed)


def test_what_was_lost_is_counted_in_its_line(rig: Rig) -> None:
    rig.reporter.started(TP, Start(100, 40, lost=60))
    assert rig.lines[0]["lost"] == 60


def test_it_is_alive_while_the_loop_turns(rig: Rig) -> None:
    rig.turn(pipeline())
    rig.now += ALIVE_SECONDS - 0.1
    assert rig.reporter.alive()


def test_it_is_not_alive_when_the_loop_has_stood_still(rig: Rig) -> None:
    rig.turn(pipeline())
    rig.now += ALIVE_SECONDS
    assert not rig.reporter.alive()


def test_a_turn_that_is_not_looked_at_counts_as_life(rig: Rig) -> None:
    rig.turn(pipeline())
    rig.now += GAUGES_INTERVAL_SECONDS / 2
    rig.reporter.turned(pipeline(), rig.now, joined=True)
    rig.now += ALIVE_SECONDS - 0.01
    assert rig.reporter.alive()
