from tests.builders import item, signal
from tests.unit.letters.test_reopening import lying
from worker.dead_letters import opened
from worker.letters.repeats import Repeats
from worker.letters.summary import Summary, count_judged, in_words
from worker.render.rehearsal import Judged


def counted(*offsets: int, most: int = 10) -> str:
    repeats = Repeats(most)
    for offset in offsets:
        letter = opened(lying(signal(offset)))
        assert letter is not None
        repeats.take(letter)
    return str(repeats)


def test_letters_of_records_of_their_own_are_not_mentioned() -> None:
    assert counted() == ""
    assert counted(1, 2, 3) == ""


def test_several_letters_of_one_record_are_told_of() -> None:
    assert counted(1, 2, 1).startswith("3 waiting letters of 2 records: a redrive sends an event once for each")
    assert counted(7, 7).startswith("2 waiting letters of 1 record:")


def test_of_more_records_than_are_kept_apart_nothing_is_said() -> None:
    assert counted(1, 2, 2, most=2) != ""
    assert counted(1, 2, 3, 4, 4, most=2) == ""


def test_a_dry_run_tells_of_those_it_would_deliver() -> None:
    summary = Summary()
    for offset in (100, 101):
        count_judged(summary, Judged(lying(signal(1), offset=offset), None, item()))
    assert any(line.startswith("2 waiting letters of 1 record:") for line in in_words(summary, rehearsed=True))
