import msgspec
import pytest

from tests.builders import TIME_MS, pipeline, record, signal
from tests.unit.test_dead_letters import headers, letter_record, rejected, returned
from worker.core.batching import Item
from worker.core.identity import Identities, Known, Remembered, State
from worker.core.intake import Origin
from worker.core.lanes import Limits
from worker.core.outcomes import DeadLetter, Outcome, Reason
from worker.core.payloads import derived_message_id
from worker.core.records import Record, TopicPartition
from worker.letters.reopening import Reopener
from worker.letters.selection import Ownership, Place, Selection
from worker.render.rehearsal import TAKEN, Judged, rehearse

SOURCE = TopicPartition("delivery-dreamdata", 3)
LETTERS = TopicPartition("delivery-dreamdata.dead-letters", 1)
GROUP = "dreamdata-worker"


def lying(source: Record, *, offset: int = 100, group: str = GROUP, redrives: int = 0) -> Record:
    """A letter as it lies in its topic, sent again so often."""
    lies = letter_record(headers(rejected(source), group=group), source, offset)
    for _ in range(redrives):
        lies = msgspec.structs.replace(returned(lies, rejected(lies)), offset=offset)
    return lies


def reopener(selection: Selection | None = None, visitors: dict[TopicPartition, Identities] | None = None) -> Reopener:
    return Reopener(Ownership(GROUP), selection or Selection(), visitors or {})


def judged(*records: Record, visitors: dict[TopicPartition, Identities] | None = None) -> tuple[Judged, ...]:
    core = pipeline(Limits(rejection_limit=0))
    core.intake.reopen = reopener(visitors=visitors)
    return rehearse(core, LETTERS, records, lambda _: []).judged


def test_a_letter_is_opened_as_the_record_it_was_made_of() -> None:
    source = signal(42)
    found = reopener()(LETTERS, lying(source, redrives=2), 0.0)
    assert isinstance(found, Origin)
    assert (found.tp, found.record) == (SOURCE, source)


@pytest.mark.parametrize(
    "lies",
    [
        pytest.param(lying(signal(42), group="another"), id="another group's"),
        pytest.param(record(100, b"anything"), id="no worker's"),
        pytest.param(record(100, None), id="empty"),
        pytest.param(lying(signal(42), group="another", redrives=9), id="another group's, exhausted"),
    ],
)
def test_what_is_not_the_groups_own_is_left_out_and_written_again(lies: Record) -> None:
    found = reopener()(LETTERS, lies, 0.0)
    assert isinstance(found, DeadLetter)
    assert (found.reason, found.outcome, found.record) == (Reason.FOREIGN, Outcome.FILTERED, lies)


def test_an_exhausted_one_is_passed_by_whether_it_is_asked_for_or_not() -> None:
    asked = Selection(places=[Place(LETTERS.partition, 1, 2)])
    for selection in (Selection(), asked):
        assert reopener(selection)(LETTERS, lying(signal(42), redrives=3), 0.0) is Reason.EXHAUSTED
        assert reopener(selection)(LETTERS, lying(signal(42), redrives=2), 0.0) is not Reason.EXHAUSTED


@pytest.mark.parametrize(
    ("selection", "taken"),
    [
        (Selection(reasons=frozenset({"rejected"})), True),
        (Selection(reasons=frozenset({"too-large"})), False),
        (Selection(statuses=frozenset({400})), True),
        (Selection(statuses=frozenset({422})), False),
        (Selection(places=[Place(1, 100, 100)]), True),
        (Selection(places=[Place(0, 100, 100)]), False),
        (Selection(places=[Place(1, 90, 99), Place(1, 101, 110)]), False),
        (Selection(since_ms=TIME_MS + 17_250), True),
        (Selection(since_ms=TIME_MS + 17_251), False),
        (Selection(until_ms=TIME_MS + 17_251), True),
        (Selection(until_ms=TIME_MS + 17_250), False),
        (Selection(reasons=frozenset({"rejected"}), statuses=frozenset({422})), False),
    ],
)
def test_a_selection_takes_what_passes_all_of_it(selection: Selection, *, taken: bool) -> None:
    found = reopener(selection)(LETTERS, lying(signal(42)), 0.0)
    assert isinstance(found, Origin) == taken
    if isinstance(found, DeadLetter):
        assert (found.reason, found.outcome) == (Reason.NOT_SELECTED, Outcome.FILTERED)


def test_an_event_without_an_id_gets_that_of_its_first_try() -> None:
    source = signal(42, messageId=None)
    [found] = judged(lying(source, redrives=2))
    assert isinstance(found.decision, Item)
    assert found.decision.message_id == derived_message_id(SOURCE, source)


def test_what_becomes_of_it_is_the_letters_own_and_not_its_sources() -> None:
    """Spans, commits and what is written back go by the offsets of the dead-letter topic."""
    good, bad = lying(signal(42), offset=7), lying(signal(43, event=""), offset=9)
    sent, refused = judged(good, bad)
    assert isinstance(sent.decision, Item)
    assert isinstance(refused.decision, DeadLetter)
    assert (sent.decision.record, refused.decision.record) == (good, bad)
    assert refused.decision.reason is Reason.INVALID_EVENT


def test_consent_and_mapping_are_those_of_now() -> None:
    decisions = [
        each.decision for each in judged(lying(signal(1, context={})), lying(signal(2, event="Other"), offset=101))
    ]
    assert decisions == [Reason.NO_CONSENT, Reason.UNMAPPED]


def test_traits_are_those_known_in_the_partition_it_came_from() -> None:
    state = msgspec.json.encode(State(None, TIME_MS, {"email": "jane@acme.com"}))
    known = {"a:df_8f2a1c9e": state}
    elsewhere = TopicPartition(SOURCE.topic, 0)
    [here] = judged(lying(signal(42)), visitors={SOURCE: Remembered(10**9, Known(known, {}))})
    [there] = judged(lying(signal(42)), visitors={elsewhere: Remembered(10**9, Known(known, {}))})
    assert isinstance(here.decision, Item)
    assert isinstance(there.decision, Item)
    assert (here.decision.identified, there.decision.identified) == (True, False)


def test_an_identify_that_is_sent_again_teaches_nothing() -> None:
    first, then = judged(
        lying(signal(1, type="identify", event=None, traits={"email": "old@acme.com"})), lying(signal(2), offset=101)
    )
    assert first.decision is Reason.ABSORBED
    assert isinstance(then.decision, Item)
    assert not then.decision.identified


def test_a_denial_that_is_sent_again_makes_nobody_forgotten() -> None:
    state = msgspec.json.encode(State(None, TIME_MS, {"email": "jane@acme.com"}))
    denied = {"consent": {"analytics": False, "marketing": True}}
    decisions = judged(
        lying(signal(1, context=denied)),
        lying(signal(2), offset=101),
        visitors={SOURCE: Remembered(10**9, Known({"a:df_8f2a1c9e": state}, {}))},
    )
    assert decisions[0].decision is Reason.CONSENT_DENIED
    assert isinstance(decisions[1].decision, Item)
    assert decisions[1].decision.identified


def test_what_a_redrive_leaves_out_counts_as_filtered_and_goes_with_the_offset() -> None:
    core = pipeline(Limits(rejection_limit=0, linger_seconds=0.0))
    core.intake.reopen = reopener()
    core.assigned([LETTERS])
    core.restored(LETTERS, 0, committed=None)
    foreign, spent = record(0, b"anything"), lying(signal(1), offset=1, redrives=3)
    core.received(
        {LETTERS: [foreign, spent, lying(signal(2), offset=2), lying(signal(3, event=""), offset=3)]}, {}, 0.0
    )
    core.stopping()
    for command in core.ticked(0.0):
        if hasattr(command, "batch"):
            core.answered(command.batch, TAKEN, 0.0)
    commit = core.last_commit([LETTERS])
    assert commit is not None
    [share] = commit.lanes
    assert share.next_offset == 4
    assert share.outcomes == {
        (Outcome.FILTERED, Reason.FOREIGN): 1,
        (Outcome.FILTERED, Reason.EXHAUSTED): 1,
        (Outcome.DELIVERED, Reason.DELIVERED): 1,
        (Outcome.DEAD_LETTERED, Reason.INVALID_EVENT): 1,
    }
    assert [letter.record.offset for letter in share.dead_letters] == [0, 3], "an exhausted one is not written"
    assert share.changes == ()
