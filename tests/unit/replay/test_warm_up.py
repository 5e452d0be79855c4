"""What is known where a replay begins: the log's word first, then what earlier records teach."""

from collections.abc import Callable, Collection, Generator, Iterable
from dataclasses import dataclass, field

import msgspec
import pytest

from tests.builders import PLAN, SCHEMA, TP, TTL_MS, identify, policy, record, signal, undecodable
from worker.core.decisions import Decider
from worker.core.decoding import Plan, SchemaRef
from worker.core.identity import State, Traits
from worker.core.records import Record, TopicPartition
from worker.core.restoring import Entry, Restoration
from worker.core.start_offsets import Start
from worker.core.stretches import Stretch
from worker.errors import KafkaUnavailableError, NoSuchSchemaError, SchemaUnavailableError, SettingsError
from worker.identity_log import LogFinding, Restored, Restoring, Visitors
from worker.replay.options import WarmUp, warm_up_of
from worker.replay.warm_up import Learner, PastVisitors, Report
from worker.scout import Place

ID = "topic-id"
BEGIN, END = 10, 20
DAY = 86_400_000
OLD: Traits = {"email": "old@acme.com"}
NEW: Traits = {"email": "new@acme.com"}


def place(offset: int = BEGIN) -> Place:
    return Place(TP, 1, Start(offset, offset, stretch=Stretch(BEGIN, END)), None)


def of(visitor: str, offset: int, traits: Traits) -> Record:
    return identify(offset, anonymousId=visitor, userId=None, traits=traits)


def state(traits: Traits) -> bytes:
    return msgspec.json.encode(State(None, 1, traits))


@dataclass(slots=True)
class Topic:
    """The records before the range, one a day; `trouble` is raised at the next reading."""

    records: list[Record] = field(default_factory=list)
    start: int = 0
    read: list[tuple[int, int]] = field(default_factory=list)
    trouble: Exception | None = None

    def starts(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, self.start)

    def at_time(self, partitions: Iterable[TopicPartition], epoch_ms: int) -> dict[TopicPartition, tuple[int, int]]:
        found = next(((each.offset, each.timestamp_ms) for each in self.records if each.timestamp_ms >= epoch_ms), None)
        return {} if found is None else dict.fromkeys(partitions, found)

    def reading(self, tp: TopicPartition, first: int, end: int) -> Generator[Record]:
        self.read.append((first, end))
        trouble, self.trouble = self.trouble, None
        if trouble is not None:
            raise trouble
        yield from (each for each in self.records if first <= each.offset < end)


class Log:
    """Has these entries of every partition, and says so at once."""

    def __init__(self, entries: Collection[Entry], report: Report) -> None:
        self._entries = entries
        self._report = report
        self.dropped: list[TopicPartition] = []

    def restore(self, places: Collection[Place]) -> None:
        if places:
            self._report(Restored(tuple(self._visitors(each) for each in places)))

    def _visitors(self, each: Place) -> Visitors:
        restoration = Restoration(each.start.offset, ID)
        for entry in self._entries:
            restoration.take(entry)
        return Visitors(each, ID, restoration, 0)

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        self.dropped += partitions

    def close(self) -> None: ...


def known(ref: SchemaRef) -> Plan:
    assert ref == SCHEMA
    return PLAN


@dataclass(slots=True)
class Rig:
    topic: Topic
    entries: Collection[Entry] = ()
    chosen: WarmUp = WarmUp()  # noqa: RUF009 - it is frozen
    find: Callable[[SchemaRef], Plan] = known
    heard: list[LogFinding] = field(default_factory=list)

    def begin(self, at: Place | None = None) -> Visitors:
        source = PastVisitors(
            lambda report: Log(self.entries, report),
            self.topic,
            self.topic.reading,
            Learner(Decider(policy()), self.find),
            self.chosen,
            TTL_MS,
            self.heard.append,
            again_seconds=0.0,
        )
        source.restore([at or place()])
        (restored,) = [each for each in self.heard if isinstance(each, Restored)]
        return restored.visitors[0]

    def traits(self) -> dict[str, Traits]:
        states = self.begin().restoration.known.states
        return {visitor: msgspec.json.decode(each, type=State).traits for visitor, each in states.items()}


def test_of_whom_the_log_does_not_tell_earlier_records_teach() -> None:
    rig = Rig(Topic([of("a", 2, OLD), of("b", 3, OLD)]), [Entry("a:b", state(NEW), 15, ID)])

    assert rig.traits() == {"a:a": OLD, "a:b": OLD}


def test_what_the_log_tells_from_before_the_range_wins() -> None:
    rig = Rig(Topic([of("a", 2, OLD)]), [Entry("a:a", state(NEW), 5, ID)])

    assert rig.traits() == {"a:a": NEW}


def test_whom_the_log_tells_forgotten_before_the_range_is_not_learned_again() -> None:
    rig = Rig(Topic([of("a", 2, OLD)]), [Entry("a:a", None, 5, ID)])

    assert rig.traits() == {}


def test_what_an_operator_had_forgotten_is_not_learned_again() -> None:
    rig = Rig(Topic([of("a", 2, OLD), of("b", 8, OLD)]), [Entry(f"a:{who}", None, 0, ID, 6, True) for who in "ab"])

    assert rig.traits() == {"a:b": OLD}


def test_denied_consent_before_the_range_is_heeded() -> None:
    denied = signal(5, anonymousId="a", context={"consent": {"analytics": False}})

    assert Rig(Topic([of("a", 2, OLD), denied])).traits() == {}


def test_what_cannot_be_read_teaches_nothing_and_stops_nothing() -> None:
    assert Rig(Topic([undecodable(1), record(2, None), of("a", 3, OLD)])).traits() == {"a:a": OLD}


def test_a_schema_that_is_missing_twice_is_passed_over() -> None:
    def find(ref: SchemaRef) -> Plan:
        raise NoSuchSchemaError("there is none")

    assert Rig(Topic([of("a", 3, OLD)]), find=find).traits() == {}


def test_a_schema_that_nobody_can_tell_of_is_waited_for_and_said() -> None:
    answers = iter([SchemaUnavailableError("the registry is down"), None])

    def find(ref: SchemaRef) -> Plan:
        if (trouble := next(answers)) is not None:
            raise trouble
        return PLAN

    rig = Rig(Topic([of("a", 3, OLD)]), find=find)

    assert rig.traits() == {"a:a": OLD}
    assert any("the registry is down" in each.progress for each in rig.heard if isinstance(each, Restoring))


@pytest.mark.parametrize("trouble", [KafkaUnavailableError("no broker"), SettingsError(["deleted"])])
def test_what_cannot_be_read_just_now_is_read_again(trouble: Exception) -> None:
    assert Rig(Topic([of("a", 3, OLD)], trouble=trouble)).traits() == {"a:a": OLD}


def test_nothing_is_read_where_nothing_is_wanted() -> None:
    rig = Rig(Topic([of("a", 3, OLD)]), chosen=warm_up_of("none"))

    assert rig.traits() == {}
    assert rig.topic.read == []


def test_a_span_counts_back_from_the_last_record_before_the_range() -> None:
    days = [record(offset, None, timestamp_ms=offset * DAY) for offset in range(10)]
    rig = Rig(Topic(days), chosen=warm_up_of("3d"))
    rig.begin()

    assert rig.topic.read[-1] == (6, BEGIN)


def test_a_date_is_where_reading_begins() -> None:
    days = [record(offset, None, timestamp_ms=offset * DAY) for offset in range(10)]
    rig = Rig(Topic(days), chosen=warm_up_of("1970-01-05"))
    rig.begin()

    assert rig.topic.read == [(4, BEGIN)]


def test_what_is_no_span_is_refused() -> None:
    with pytest.raises(SettingsError, match="--warm-up: 'long'"):
        warm_up_of("long")


@pytest.mark.parametrize(
    ("start", "chosen", "unknown"),
    [
        pytest.param(0, "all", 0, id="all was read"),
        pytest.param(4, "all", 1, id="the first records are gone"),
        pytest.param(0, "none", 1, id="nothing was read"),
    ],
)
def test_visitors_are_unknown_of_whom_something_earlier_may_have_been_missed(
    start: int, chosen: str, unknown: int
) -> None:
    rig = Rig(Topic(start=start), [Entry("a:a", state(NEW), 15, ID)], warm_up_of(chosen))

    assert rig.begin().place.start.stretch == Stretch(BEGIN, END, unknown=unknown)


def test_where_a_replay_goes_on_in_the_middle_what_was_counted_at_its_beginning_stays() -> None:
    rig = Rig(Topic(start=4), [Entry("a:a", state(NEW), 15, ID)])

    assert rig.begin(place(12)).place.start.stretch == Stretch(BEGIN, END)
    assert rig.topic.read == [(4, 12)]


def test_where_nothing_is_left_to_read_nothing_is_looked_up() -> None:
    rig = Rig(Topic([of("a", 3, OLD)]))

    assert rig.begin(place(END)).restoration.known.states == {}
    assert rig.topic.read == []
