from worker.core.outcomes import Outcome, Reason
from worker.core.stretches import MAX_ASKED_BYTES, MAX_METADATA_BYTES, Asked, Stretch, stretch_of

ASKED: Asked = {"topic": "delivery-dreamdata", "events": ["Lead Generated", "page"]}


def test_a_stretch_comes_back_from_the_metadata_of_a_commit() -> None:
    stretch = Stretch(3, 900, ASKED, {"delivered": 5}, lost=2)

    assert stretch_of(stretch.text()) == stretch


def test_metadata_is_readable_in_other_tools() -> None:
    assert Stretch(3, 900, {"to": "2026-06-08"}).text() == (
        '{"first_offset":3,"end_offset":900,"asked":{"to":"2026-06-08"}}'
    )


def test_metadata_that_is_not_ours_is_no_stretch() -> None:
    assert [stretch_of(text) for text in ("", "moved by hand", "[]", '{"end_offset": 3}')] == [None] * 4


def test_outcomes_add_up_by_outcome_and_reason() -> None:
    after = Stretch(0, 9).after({(Outcome.DELIVERED, Reason.DELIVERED): 2, (Outcome.FILTERED, Reason.ABSORBED): 1})

    again = after.after({(Outcome.DELIVERED, Reason.DELIVERED): 3})

    assert again.counted == {"delivered": 5, "filtered/absorbed": 1}


def test_whatever_is_counted_the_metadata_stays_below_the_brokers_limit() -> None:
    most = 10**18
    every = dict.fromkeys(_possible(), most)
    asked: Asked = {"events": "x" * (MAX_ASKED_BYTES - 20)}

    text = Stretch(most, most, asked, lost=most).after(every).text()

    assert len(text.encode()) < MAX_METADATA_BYTES


def _possible() -> list[tuple[Outcome, Reason]]:
    dead = (
        Reason.UNDECODABLE,
        Reason.UNKNOWN_SCHEMA,
        Reason.INVALID_EVENT,
        Reason.TOO_LARGE,
        Reason.REJECTED,
        Reason.GAVE_UP,
    )
    filtered = set(Reason) - set(dead) - {Reason.DELIVERED}
    return [
        (Outcome.DELIVERED, Reason.DELIVERED),
        *((Outcome.DEAD_LETTERED, reason) for reason in dead),
        *((Outcome.FILTERED, reason) for reason in filtered),
    ]
