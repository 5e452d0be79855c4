from tests.builders import TP, item, record, signal
from tests.unit.letters.test_reopening import lying
from worker.core.outcomes import DeadLetter, Reason, Stage, left_out
from worker.core.records import TopicPartition
from worker.core.stretches import Stretch
from worker.finish import Standing
from worker.letters.summary import Summary, Unmatched, as_json, count_judged, in_words, summary_of
from worker.render.rehearsal import Judged, Waiting

COUNTED = {
    "delivered": 1_200,
    "filtered/no-consent": 2,
    "filtered/absorbed": 1,
    "filtered/not-selected": 5,
    "filtered/foreign": 6,
    "filtered/exhausted": 7,
    "dead_lettered/rejected": 3,
}


def test_what_all_partitions_have_counted_adds_up() -> None:
    summary = summary_of(
        {
            TP: Standing(Stretch(0, 900, counted=COUNTED, lost=4), 900),
            TopicPartition(TP.topic, 1): Standing(Stretch(0, 20, counted={"dead_lettered/undecodable": 2}), 12),
        }
    )
    assert as_json(summary) == {
        "read": 1_226,
        "delivered": 1_200,
        "filtered": {"no-consent": 2, "absorbed": 1},
        "returned": {"rejected": 3, "undecodable": 2},
        "left_out": 11,
        "foreign": 6,
        "exhausted": 7,
        "waiting": {},
        "lost": 4,
        "left": 8,
    }
    words = "\n".join(in_words(summary, rehearsed=False))
    assert "1,226 dead letters read" in words
    assert "3 filtered (absorbed 1, no-consent 2)" in words
    assert "5 returned: failed again (rejected 3, undecodable 2)" in words
    assert "5 left out: not asked for" in words
    assert "6 left out: another group's, or no worker's" in words
    assert "8 offsets still to go" in words
    assert "4 offsets before them had been deleted" in words


def test_of_exhausted_ones_it_is_said_what_would_send_them() -> None:
    summary = Summary()
    for redrives in (3, 5):
        count_judged(summary, Judged(lying(signal(1), redrives=redrives), None, Reason.EXHAUSTED))
    assert "for good; --max-redrives 6 would send them" in "\n".join(in_words(summary, rehearsed=True))
    passed = "\n".join(in_words(Summary(exhausted=2), rehearsed=False))
    assert "offset moved back below them, and --max-redrives above their redrives" in passed


def test_where_only_exhausted_ones_are_asked_for_it_is_said_what_would_send_them() -> None:
    assert str(Unmatched(4)) == "None of the 4 dead letters that would be sent again is asked for."
    assert str(Unmatched(0, 1, 3)) == (
        "No dead letter waits to be sent again. 1 exhausted one is: --max-redrives 4 would send it."
    )


def test_what_is_nothing_is_not_said() -> None:
    assert list(in_words(Summary(), rehearsed=False)) == ["0 dead letters read."]


def test_a_rehearsal_counts_what_would_become_of_each() -> None:
    summary = Summary()
    for decision in (
        item(),
        Reason.UNMAPPED,
        Reason.EXHAUSTED,
        left_out(record(), Reason.NOT_SELECTED, 0.0),
        left_out(record(), Reason.FOREIGN, 0.0),
        DeadLetter(record(), Reason.UNDECODABLE, Stage.DECODE, "", 0.0),
        Waiting("schema", "no registry"),
    ):
        count_judged(summary, Judged(record(), None, decision))
    assert as_json(summary) == {
        "read": 7,
        "delivered": 1,
        "filtered": {"unmapped": 1},
        "returned": {"undecodable": 1},
        "left_out": 2,
        "foreign": 1,
        "exhausted": 1,
        "waiting": {"schema": 1},
        "lost": 0,
        "left": 0,
    }
