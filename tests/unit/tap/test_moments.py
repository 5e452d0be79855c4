from typing import Any

import pytest

from tests.builders import TIME_MS, TP, record
from worker.core.outcomes import Reason
from worker.tap.moments import MOMENT_BYTES, Moment, Ring, Seen, Wanted


def moment(offset: int = 0, *, weight: int = 0, **fields: Any) -> Moment:
    return Moment(TIME_MS, TP, record(offset, b"x" * weight), **{"seen": Seen.DELIVERED, **fields})


def offsets(ring: Ring, number: int = 0, limit: int = 100) -> list[int]:
    return [each.record.offset for _, each in ring.after(number, limit)[1]]


def filled(ring: Ring, count: int) -> Ring:
    for offset in range(count):
        ring.add(moment(offset))
    return ring


def test_a_ring_gives_what_follows_a_number_in_order() -> None:
    lost, found = filled(Ring(), 5).after(2, 2)
    assert (lost, [(number, each.record.offset) for number, each in found]) == (0, [(3, 2), (4, 3)])


def test_a_ring_has_nothing_behind_its_last() -> None:
    assert filled(Ring(), 5).after(5, 100) == (0, [])


def test_a_full_ring_loses_its_oldest_and_says_how_many() -> None:
    ring = filled(Ring(max_moments=3), 10)
    assert len(ring) == 3
    lost, found = ring.after(4, 100)
    assert (lost, [number for number, _ in found]) == (3, [8, 9, 10])


def test_a_ring_never_weighs_more_than_it_may() -> None:
    limit = 10 * MOMENT_BYTES
    ring = Ring(max_bytes=limit)
    for offset in range(100):
        ring.add(moment(offset, weight=offset % 7 * 1_000))
        assert ring.size == sum(each.size for _, each in ring.after(0, 100)[1]) <= limit


def test_a_moment_heavier_than_the_whole_ring_is_lost_and_counted() -> None:
    ring = Ring(max_bytes=1_000)
    ring.add(moment(0))
    ring.add(moment(1, weight=5_000))
    assert (ring.size, ring.after(0, 100)) == (0, (2, []))
    ring.add(moment(2))
    assert offsets(ring) == [2]


def test_a_payload_weighs_as_well() -> None:
    whole = Moment(TIME_MS, TP, record(0, b"12"), Seen.DELIVERED, payload=b"345")
    assert whole.size == MOMENT_BYTES + 5


@pytest.mark.parametrize(
    ("wanted", "takes"),
    [
        pytest.param(Wanted(), True, id="all"),
        pytest.param(Wanted(seen=frozenset({Seen.FILTERED, Seen.DELIVERED})), True, id="outcome"),
        pytest.param(Wanted(seen=frozenset({Seen.DELIVERED})), False, id="another outcome"),
        pytest.param(Wanted(reasons=frozenset({Reason.NO_CONSENT})), True, id="reason"),
        pytest.param(Wanted(reasons=frozenset({Reason.UNMAPPED})), False, id="another reason"),
        pytest.param(Wanted(message_ids=frozenset({"evt_1", "evt_2"})), True, id="messageId"),
        pytest.param(Wanted(message_ids=frozenset({"evt_2"})), False, id="another messageId"),
        pytest.param(Wanted(names=frozenset({"sign_up"})), True, id="name"),
        pytest.param(Wanted(names=frozenset({"login"})), False, id="another name"),
        pytest.param(Wanted(names=frozenset({"sign_up"}), message_ids=frozenset({"evt_2"})), False, id="one of two"),
    ],
)
def test_a_filter_takes_what_fits_all_it_names(wanted: Wanted, *, takes: bool) -> None:
    seen = moment(seen=Seen.FILTERED, reason=Reason.NO_CONSENT, message_id="evt_1")
    assert wanted.takes(seen, {"signed_up", "sign_up"}) is takes


def test_what_is_pending_is_only_for_those_who_ask() -> None:
    assert not Wanted().takes(moment(seen=Seen.PENDING), ())
    assert Wanted(seen=frozenset({Seen.PENDING})).takes(moment(seen=Seen.PENDING), ())
