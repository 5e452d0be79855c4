"""What is recorded of the real pipeline's decisions and answers, and that nothing is while nobody looks."""

from collections.abc import Callable

import pytest

from tests.builders import (
    TP,
    answer,
    batch,
    event,
    identify,
    item,
    pipeline,
    record,
    signal,
    tap,
    tp,
    undecodable,
    without_consent,
)
from worker.core.commands import Commit, Deliver
from worker.core.decoding import Event
from worker.core.lanes import Decision, Limits
from worker.core.outcomes import Answer, Reason
from worker.core.records import Record, TopicPartition
from worker.tap.moments import Moment, Seen, Wanted
from worker.tap.recorder import FORGOTTEN_AFTER_SECONDS, MAX_WATCHES, REFUSED_MAX_BYTES, Watch

EVERYTHING = Wanted(seen=frozenset(Seen))

Api = Callable[[int], Answer]


class Rig:
    """A pipeline whose answers come from `api` (the number of the request in, the answer out), and its tap."""

    def __init__(self, *, limits: Limits | None = None) -> None:
        self.now = 0.0
        self.tap = tap(lambda: self.now)
        self.pipeline = pipeline(limits or Limits(linger_seconds=0))
        self.pipeline.assigned([TP])
        self.pipeline.restored(TP, 0, 0)

    def watch(self, wanted: Wanted = EVERYTHING) -> Watch:
        watch = self.tap.watch(wanted)
        assert watch is not None
        self.tap.turned(self.pipeline)
        return watch

    def run(self, *records: Record, api: Api = lambda _: answer(200), turns: int = 20) -> None:
        """What the loop does, each turn ten seconds after the last."""
        self.pipeline.received({TP: records} if records else {}, {}, self.now)
        requests = 0
        for _ in range(turns):
            self.now += 10
            for command in self.pipeline.ticked(self.now):
                if isinstance(command, Deliver):
                    given = api(requests)
                    requests += 1
                    self.pipeline.answered(command.batch, given, self.now)
                    self.tap.answered(command.batch, given)
                elif isinstance(command, Commit):
                    self.pipeline.committed(command, self.now)
                    self.tap.committed(command)


def moments(watch: Watch) -> list[Moment]:
    return [moment for _, moment in watch.ring.after(0, 10_000)[1]]


def seen(watch: Watch) -> list[tuple[int, str, str]]:
    return [(each.record.offset, each.seen.value, each.reason.value) for each in moments(watch)]


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_while_nobody_looks_nothing_is_recorded_and_the_intake_has_no_witness(rig: Rig) -> None:
    rig.tap.turned(rig.pipeline)
    rig.run(signal(0), undecodable(1), api=lambda number: answer(400 if number == 0 else 200))
    assert rig.pipeline.intake.witness is None
    assert rig.tap._refused == {}


def test_a_watcher_who_has_gone_takes_the_witness_with_it_and_all_that_was_kept(rig: Rig) -> None:
    watch = rig.watch()
    rig.run(signal(0), api=lambda _: answer(503), turns=1)
    assert rig.tap._refused != {}
    watch.take(0, 10)
    states = []
    for seconds in (FORGOTTEN_AFTER_SECONDS, 0.1):
        rig.now += seconds
        rig.tap.turned(rig.pipeline)
        states.append((watch.forgotten, rig.pipeline.intake.witness is None))
    assert states == [(False, False), (True, True)], "at first it might have come back"
    assert rig.tap._refused == {}


def test_a_watcher_who_goes_on_taking_is_kept(rig: Rig) -> None:
    watch = rig.watch()
    for _ in range(5):
        rig.now += FORGOTTEN_AFTER_SECONDS
        watch.take(0, 10)
        rig.tap.turned(rig.pipeline)
    assert not watch.forgotten


def test_the_witness_that_was_there_before_goes_on_seeing_and_stays_when_the_watcher_goes(rig: Rig) -> None:
    told: list[int] = []

    def debug_log(_tp: TopicPartition, record: Record, _event: Event | None, _decision: Decision) -> None:
        told.append(record.offset)

    rig.pipeline.intake.witness = debug_log
    watch = rig.watch()
    rig.run(without_consent(0))
    assert (told, seen(watch)) == ([0], [(0, "filtered", "no-consent")])
    rig.now += FORGOTTEN_AFTER_SECONDS + 1
    rig.tap.turned(rig.pipeline)
    assert rig.pipeline.intake.witness is debug_log


def test_what_ends_in_a_filter_is_seen_at_once_with_its_reason(rig: Rig) -> None:
    watch = rig.watch()
    rig.run(without_consent(0), identify(1), signal(2, event="Video Played"), record(3, None))
    assert seen(watch) == [
        (0, "filtered", "no-consent"),
        (1, "filtered", "absorbed"),
        (2, "filtered", "unmapped"),
        (3, "filtered", "null-value"),
    ]
    assert [(each.message_id, each.name) for each in moments(watch)] == [
        ("evt_0", "Lead Generated"),
        ("evt_1", "identify"),
        ("evt_2", "Video Played"),
        ("", ""),
    ]


def test_an_event_is_seen_pending_then_with_every_answer(rig: Rig) -> None:
    watch = rig.watch()
    rig.run(signal(0), api=lambda number: answer(429 if number == 0 else 200))
    assert [(each.seen, each.reply and (each.reply.status, each.reply.attempts)) for each in moments(watch)] == [
        (Seen.PENDING, None),
        (Seen.RETRIED, ("429", 1)),
        (Seen.DELIVERED, ("200", 2)),
    ]
    assert {each.payload for each in moments(watch)} == {moments(watch)[0].payload} != {None}


def test_events_decided_before_anybody_looked_are_seen_when_they_are_answered(rig: Rig) -> None:
    rig.run(signal(0), turns=0)
    watch = rig.watch()
    rig.run()
    assert seen(watch) == [(0, "delivered", "")]
    assert moments(watch)[0].name == "lead_generated"


def test_a_wrong_key_is_seen_as_held(rig: Rig) -> None:
    watch = rig.watch()
    rig.run(signal(0), api=lambda _: answer(401), turns=1)
    assert seen(watch)[-1] == (0, "held", "")


def test_a_rejected_event_is_seen_refused_then_dead_lettered_with_payload_and_answer(rig: Rig) -> None:
    watch = rig.watch(Wanted(seen=frozenset({Seen.REFUSED, Seen.DEAD_LETTERED})))
    poison = [answer(400), answer(200), answer(400, body="bad form_id")]
    rig.run(signal(0), signal(1), api=lambda number: poison[number])
    assert seen(watch) == [
        (0, "refused", ""),
        (1, "refused", ""),
        (1, "refused", ""),
        (1, "dead_lettered", "rejected"),
    ]
    last = moments(watch)[-1]
    assert last.payload is not None
    assert b'"evt_1"' in last.payload
    assert last.reply is not None
    assert (last.reply.status, last.reply.attempts, last.reply.text) == ("400", 2, "bad form_id")
    assert (last.message_id, last.name) == ("evt_1", "Lead Generated")


def test_what_cannot_be_decoded_is_seen_when_its_dead_letter_is_committed(rig: Rig) -> None:
    watch = rig.watch()
    rig.run(undecodable(0), turns=0)
    assert seen(watch) == []
    rig.run()
    assert seen(watch)[0] == (0, "dead_lettered", "undecodable")
    assert "not Avro" in moments(watch)[0].detail


def test_an_invalid_event_is_seen_once_when_it_is_decided(rig: Rig) -> None:
    watch = rig.watch()
    rig.run(signal(0, timestamp=None))
    assert seen(watch) == [(0, "dead_lettered", "invalid-event")]
    assert "timestamp" in moments(watch)[0].detail


def test_an_event_without_messageid_is_seen_under_the_one_it_is_sent_with(rig: Rig) -> None:
    watch = rig.watch()
    rig.run(signal(0, messageId=None), signal(1, messageId=None, context={}))
    filtered, pending, delivered = moments(watch)[1], moments(watch)[0], moments(watch)[2]
    assert pending.message_id == delivered.message_id != ""
    assert filtered.message_id not in ("", pending.message_id)


@pytest.mark.parametrize("name", ["Signed Up", "signed_up", "sign_up", "Sign-Up"])
def test_an_event_is_found_under_signals_name_and_under_dreamdatas(name: str, rig: Rig) -> None:
    watch = rig.watch(Wanted(names=frozenset({name})))
    rig.run(signal(0, event="Signed Up"), signal(1), signal(2, event="Signed Up", context={}))
    assert sorted(seen(watch)) == [(0, "delivered", ""), (2, "filtered", "no-consent")]


def test_a_page_is_found_under_its_type(rig: Rig) -> None:
    watch = rig.watch(Wanted(names=frozenset({"page"})))
    rig.run(signal(0, type="page", event=None), signal(1))
    assert seen(watch) == [(0, "delivered", "")]


def test_each_watcher_has_what_it_wants(rig: Rig) -> None:
    one = rig.watch(Wanted(message_ids=frozenset({"evt_1"})))
    other = rig.watch(Wanted(seen=frozenset({Seen.FILTERED})))
    rig.run(signal(0), signal(1), without_consent(2))
    assert seen(one) == [(1, "delivered", "")]
    assert seen(other) == [(2, "filtered", "no-consent")]


def test_who_comes_back_in_time_finds_its_own_ring(rig: Rig) -> None:
    watch = rig.watch()
    rig.run(without_consent(0))
    assert rig.tap.watch(EVERYTHING, watch.identifier) is watch
    assert rig.tap.watch(Wanted(), watch.identifier) is not watch, "another filter, another ring"


def test_who_comes_back_too_late_begins_anew(rig: Rig) -> None:
    watch = rig.watch()
    rig.now += FORGOTTEN_AFTER_SECONDS + 1
    rig.tap.turned(rig.pipeline)
    again = rig.tap.watch(EVERYTHING, watch.identifier)
    assert again is not None
    assert again.identifier != watch.identifier


def test_there_may_be_several_watchers_but_not_any_number(rig: Rig) -> None:
    watches = [rig.tap.watch(Wanted()) for _ in range(MAX_WATCHES)]
    assert None not in watches
    assert rig.tap.watch(Wanted()) is None


def test_payloads_of_refused_events_are_kept_within_a_bound(rig: Rig) -> None:
    rig.watch()
    for number in range(100):
        rig.tap.answered(batch(item(number, 100_000)), answer(503))
    assert rig.tap._refused_bytes == sum(len(each.payload) for each in rig.tap._refused.values()) <= REFUSED_MAX_BYTES
    assert (TP, 99) in rig.tap._refused


def test_a_late_answer_of_a_partition_given_away_does_not_know_its_attempts(rig: Rig) -> None:
    watch = rig.watch()
    rig.run(signal(0), api=lambda _: answer(503), turns=1)
    rig.tap.answered(batch(item(0), epoch=99), answer(200))
    assert [each.reply and each.reply.attempts for each in moments(watch)] == [None, 1, 0]


def test_a_watcher_that_never_reads_does_not_grow(rig: Rig) -> None:
    watch = rig.watch()
    for offset in range(20_000):
        rig.tap.decided(tp(0), record(offset, b"x" * 1_000), event(), Reason.UNMAPPED)
    assert watch.ring.size <= watch.ring.max_bytes
    assert len(watch.ring) <= watch.ring.max_moments
    lost, rest = watch.ring.after(0, 100_000)
    assert lost + len(rest) == 20_000
