import pytest

from tests.builders import PLAN, TP, framed, record, signal, signals, tp, undecodable, without_consent
from tests.simulator import Simulator, good, ids
from worker.core.batching import Batch
from worker.core.decoding import GUID_HEADER, Event, SchemaRef
from worker.core.lanes import Decision, Limits
from worker.core.outcomes import Outcome, Reason
from worker.core.records import Record, TopicPartition

LATER = SchemaRef.of_id(8)
UNDECODABLE = (Outcome.DEAD_LETTERED, Reason.UNDECODABLE)
UNKNOWN = (Outcome.DEAD_LETTERED, Reason.UNKNOWN_SCHEMA)
DELIVERED = (Outcome.DELIVERED, Reason.DELIVERED)


def waiting(simulator: Simulator) -> list[SchemaRef]:
    return [command.ref for command in simulator.wanted]


def with_later(*offsets_behind: int) -> Simulator:
    """A record whose schema is not known, and good ones behind it."""
    simulator = Simulator()
    simulator.produce(signal(0, LATER, messageId="evt_0_0"), *(signals(range(o, o + 1))[0] for o in offsets_behind))
    return simulator.own().run(good, seconds=3)


def test_a_missing_schema_is_asked_for_once() -> None:
    simulator = with_later(1, 2)

    assert waiting(simulator) == [LATER]


def test_records_behind_a_missing_schema_wait_and_order_is_kept() -> None:
    order: list[str] = []

    def api(batch: Batch, _now: float) -> int:
        order.extend(ids(batch))
        return 200

    simulator = with_later(1, 2)
    assert simulator.taken == {}

    simulator.pipeline.schema_known(LATER, PLAN, simulator.now)
    simulator.run(api, seconds=3)

    assert order == ["evt_0_0", "evt_0_1", "evt_0_2"]


def test_other_partitions_do_not_wait_for_a_schema() -> None:
    simulator = Simulator(partitions=2)
    simulator.produce(signal(0, LATER))
    simulator.produce(*signals(range(3), 1), partition=1)

    simulator.own().run(good, seconds=3)

    assert len(simulator.taken) == 3


def test_nothing_is_committed_past_a_record_that_waits_for_its_schema() -> None:
    simulator = with_later(1, 2)

    assert simulator.partitions[TP].committed is None


def test_an_unavailable_registry_dead_letters_nothing() -> None:
    simulator = with_later(1)
    for _ in range(100):
        simulator.pipeline.schema_unavailable(LATER, "it answers 503")
        simulator.run(good, seconds=60)

    assert simulator.outcomes() == {}
    assert simulator.pipeline.intake.unavailable == {LATER: "it answers 503"}


def test_an_answer_ends_the_complaint_about_the_registry() -> None:
    simulator = with_later(1)
    simulator.pipeline.schema_unavailable(LATER, "it answers 503")

    simulator.pipeline.schema_known(LATER, PLAN, simulator.now)

    assert simulator.pipeline.intake.unavailable == {}


def test_an_unknown_schema_is_a_dead_letter_with_the_registrys_word() -> None:
    simulator = with_later(1)
    simulator.pipeline.schema_unknown(LATER, "error_code 40403", simulator.now)
    simulator.run(good, seconds=3)

    assert simulator.outcomes() == {UNKNOWN: 1, DELIVERED: 1}
    letter = simulator.partitions[TP].dead[0]
    assert (letter.detail, letter.schema) == ("error_code 40403", LATER)


def test_an_unknown_schema_is_asked_for_again_after_half_a_minute() -> None:
    simulator = with_later()
    simulator.pipeline.schema_unknown(LATER, "error_code 40403", simulator.now)
    simulator.produce(signal(1, LATER))
    simulator.run(good, seconds=29, step=1)
    assert waiting(simulator) == [LATER]

    simulator.produce(signal(2, LATER))
    simulator.run(good, seconds=5, step=1)

    assert waiting(simulator) == [LATER, LATER]


@pytest.mark.parametrize(
    "value",
    [b"", b"not Avro", b"\x00\x00\x00", b"\xc3\x01short", framed(b"{truncated")],
    ids=["empty", "text", "short prefix", "short fingerprint", "body"],
)
def test_bytes_that_do_not_decode_are_a_dead_letter_with_the_original_bytes(value: bytes) -> None:
    simulator = Simulator()
    simulator.produce(record(0, value, key=b"k", headers=(("h", b"1"),)), *signals(range(1, 2)))
    simulator.own().run(good, seconds=3)

    letter = simulator.partitions[TP].dead[0]
    assert (letter.reason, letter.stage) == (Reason.UNDECODABLE, "decode")
    assert (letter.record.value, letter.record.key, letter.record.headers) == (value, b"k", (("h", b"1"),))


def test_a_guid_header_that_is_none_is_undecodable() -> None:
    simulator = Simulator()
    simulator.produce(record(0, b"body", headers=((GUID_HEADER, b"\x01short"),)))

    simulator.own().run(good, seconds=3)

    assert simulator.outcomes() == {UNDECODABLE: 1}


def test_ten_undecodable_records_in_a_row_are_dead_letters() -> None:
    simulator = Simulator()
    simulator.produce(*map(undecodable, range(10)))

    simulator.own().run(good, seconds=3)

    assert simulator.outcomes() == {UNDECODABLE: 10}
    assert simulator.lag() == 0


def test_more_than_ten_in_a_row_hold_their_lane_alone() -> None:
    simulator = Simulator(partitions=2)
    simulator.produce(*map(undecodable, range(15)))
    simulator.produce(*signals(range(3), 1), partition=1)

    simulator.own().run(good, seconds=600)

    assert simulator.partitions[tp(0)].committed == 10
    assert simulator.partitions[tp(1)].committed == 3
    assert simulator.held == ()


def test_the_first_record_that_decodes_dead_letters_what_waited() -> None:
    simulator = Simulator()
    simulator.produce(*map(undecodable, range(15)))
    simulator.own().run(good, seconds=10)
    simulator.produce(*signals(range(15, 16)))

    simulator.run(good, seconds=10)

    assert simulator.outcomes() == {UNDECODABLE: 15, DELIVERED: 1}


def test_tombstones_among_them_neither_end_the_row_nor_overtake_it() -> None:
    simulator = Simulator()
    simulator.produce(*(record(offset, None) if offset % 2 else undecodable(offset) for offset in range(24)))
    simulator.own().run(good, seconds=10)
    assert simulator.partitions[TP].committed == 20
    simulator.produce(*signals(range(24, 25)))

    simulator.run(good, seconds=10)

    assert simulator.outcomes() == {UNDECODABLE: 12, (Outcome.FILTERED, Reason.NULL_VALUE): 12, DELIVERED: 1}


def test_one_that_decodes_in_between_starts_the_count_again() -> None:
    simulator = Simulator()
    simulator.produce(
        *(signals(range(offset, offset + 1))[0] if offset % 10 == 9 else undecodable(offset) for offset in range(30))
    )

    simulator.own().run(good, seconds=10)

    assert simulator.outcomes() == {UNDECODABLE: 27, DELIVERED: 3}


def test_a_rejection_limit_of_0_lets_every_undecodable_record_go() -> None:
    simulator = Simulator(Limits(rejection_limit=0))
    simulator.produce(*map(undecodable, range(30)))

    simulator.own().run(good, seconds=10)

    assert simulator.outcomes() == {UNDECODABLE: 30}


def test_a_lane_full_of_unknown_schemas_asks_every_half_minute_and_delivers_when_the_registry_knows_better() -> None:
    simulator = Simulator()
    simulator.produce(*(signal(offset, LATER, messageId=f"evt_0_{offset}") for offset in range(15)))
    simulator.own()
    asked = []
    for _ in range(100):
        simulator.run(good, seconds=1, step=1)
        if simulator.wanted:
            asked.append(simulator.now)
            simulator.wanted.clear()
            if len(asked) < 4:
                simulator.pipeline.schema_unknown(LATER, "40403", simulator.now)
            else:
                simulator.pipeline.schema_known(LATER, PLAN, simulator.now)

    assert [round(at - asked[0]) for at in asked[1:]] == [30, 60, 90]
    assert simulator.outcomes() == {UNKNOWN: 10, DELIVERED: 5}


def test_records_asked_for_again_stay_before_those_behind_them() -> None:
    order: list[str] = []

    def api(batch: Batch, _now: float) -> int:
        order.extend(ids(batch))
        return 200

    another = SchemaRef.of_id(9)
    simulator = Simulator()
    simulator.produce(*(signal(offset, LATER, messageId=f"evt_0_{offset}") for offset in range(13)))
    simulator.produce(signal(13, another, messageId="evt_0_13"))
    simulator.own().run(api, seconds=3)
    simulator.pipeline.schema_unknown(LATER, "40403", simulator.now)
    simulator.run(api, seconds=40)

    simulator.pipeline.schema_known(another, PLAN, simulator.now)
    simulator.pipeline.schema_known(LATER, PLAN, simulator.now)
    simulator.run(api, seconds=5)

    assert order == ["evt_0_10", "evt_0_11", "evt_0_12", "evt_0_13"]


def test_a_lane_of_undecodable_bytes_asks_the_registry_nothing() -> None:
    simulator = Simulator()
    simulator.produce(*map(undecodable, range(15)))

    simulator.own().run(good, seconds=300)

    assert simulator.wanted == []


def test_a_held_lane_reads_on_within_its_memory_bound() -> None:
    simulator = Simulator(Limits(batch_max_bytes=1_000))
    simulator.produce(*(record(offset, b"x" * 100) for offset in range(20)))
    simulator.own().run(good, seconds=3)
    assert simulator.paused == set()

    simulator.produce(*(record(offset, b"x" * 100) for offset in range(20, 40)))
    simulator.run(good, seconds=3)

    assert simulator.paused == {TP}


def test_suspects_whose_schema_becomes_known_are_decoded_after_all() -> None:
    simulator = Simulator()
    simulator.produce(*(signal(offset, LATER, messageId=f"evt_0_{offset}") for offset in range(20)))
    simulator.own()
    simulator.tick()
    simulator.pipeline.schema_unknown(LATER, "no such schema", simulator.now)
    simulator.run(good, seconds=3)
    assert len(simulator.pipeline.lanes[TP].suspects) == 10

    simulator.pipeline.schema_known(LATER, PLAN, simulator.now)
    simulator.run(good, seconds=3)

    assert set(simulator.taken) == {f"evt_0_{offset}" for offset in range(10, 20)}
    assert simulator.outcomes() == {UNKNOWN: 10, DELIVERED: 10}


def test_another_lanes_unknown_schema_does_not_keep_a_lane_from_asking_again() -> None:
    simulator = Simulator(partitions=2)
    simulator.produce(*(signal(offset, LATER) for offset in range(20)))
    simulator.own()
    simulator.tick()
    simulator.pipeline.schema_unknown(LATER, "no such schema", simulator.now)
    simulator.run(good, seconds=25)
    other = SchemaRef.of_id(99)
    simulator.produce(signal(0, other), partition=1)
    simulator.run(good, seconds=1)
    simulator.pipeline.schema_unknown(other, "no such schema", simulator.now)
    simulator.wanted.clear()

    simulator.run(good, seconds=10)

    assert waiting(simulator) == [LATER]


def test_all_missing_schemas_of_a_backlog_are_asked_for_at_once() -> None:
    refs = [SchemaRef.of_id(number) for number in range(100, 120)]
    simulator = Simulator()
    simulator.produce(*(signal(offset, ref) for offset, ref in enumerate(refs)))
    simulator.own().run(good, seconds=1)

    assert set(waiting(simulator)) == set(refs)


def test_a_lane_that_waits_for_a_schema_says_since_when() -> None:
    simulator = with_later(1)
    simulator.run(good, seconds=100)

    since = simulator.pipeline.lanes[TP].unsettled_since
    assert since is not None
    assert simulator.now - since >= 100


def test_a_witness_is_shown_every_record_and_its_event_where_there_is_one() -> None:
    simulator = Simulator()
    seen: list[tuple[int, str | None, str]] = []

    def witness(_tp: TopicPartition, record: Record, event: Event | None, decision: Decision) -> None:
        seen.append((record.offset, event.message_id if event else None, type(decision).__name__))

    simulator.pipeline.intake.witness = witness
    simulator.produce(signal(0, messageId="evt_0_0"), record(1, None), undecodable(2), without_consent(3))
    simulator.own().run(good, seconds=3)

    assert seen == [(0, "evt_0_0", "Item"), (1, None, "Reason"), (2, None, "DeadLetter"), (3, "evt_3", "Reason")]


@pytest.mark.parametrize(
    "unreadable",
    [
        pytest.param(record(0, None), id="null value"),
        pytest.param(undecodable(), id="no framing"),
        pytest.param(signal(0, LATER), id="a schema that is not here"),
        pytest.param(record(0, framed(b"not JSON")), id="bytes that do not fit"),
    ],
)
def test_a_record_that_cannot_be_read_has_no_event_to_show(unreadable: Record) -> None:
    assert Simulator().pipeline.intake.event_of(unreadable) is None


def test_an_event_can_be_read_again_to_be_shown() -> None:
    event = Simulator().pipeline.intake.event_of(signal(3))
    assert event is not None
    assert event.message_id == "evt_3"
