"""Puts the parts together that look at dead letters as a redrive would, and send nothing. Blocks; prints nothing."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from worker.cluster import Cluster
from worker.core.decoding import Plan, SchemaRef
from worker.core.identity import visitor_of
from worker.core.mapping import Selection as EventSelection
from worker.core.records import Record, TopicPartition
from worker.dead_letters import Letter, opened
from worker.letters.known import known_of
from worker.letters.reopening import Reopener, Visitors
from worker.letters.selection import Ownership, Selection
from worker.render.asking import asking
from worker.render.rehearsal import Find, Judged, Rehearsal, rehearse
from worker.render.sources import rehearsing
from worker.settings import Settings

# Whoever looks at a letter wants to know, however often it was tried.
_ANY_NUMBER = 2**63


class Rehearser:
    """Asks for each schema once. `events` None: all of them."""

    def __init__(self, settings: Settings, find: Find, events: EventSelection | None) -> None:
        self._events = events
        self._find = find
        # what fails returns, be it all of it: there is nothing to be held for
        self._settings = settings.model_copy(update={"rejection_limit": 0})
        self._plans: dict[SchemaRef, Plan] = {}
        self._unknown: dict[SchemaRef, tuple[float, str]] = {}

    def rehearse(self, tp: TopicPartition, records: Sequence[Record], reopener: Reopener) -> Rehearsal:
        """What would become of these records of a dead-letter topic."""
        pipeline = rehearsing(self._settings, self._events)
        pipeline.intake.plans, pipeline.intake.unknown = self._plans, self._unknown
        pipeline.intake.reopen = reopener
        return rehearse(pipeline, tp, records, self._find)


@contextmanager
def rehearser_of(settings: Settings, events: EventSelection | None = None) -> Iterator[Rehearser]:
    """One for the block: the threads that ask for schemas end with it."""
    with asking(settings) as find:
        yield Rehearser(settings, find, events)


def visitors_of(judged: Iterable[Judged]) -> Mapping[TopicPartition, set[str]]:
    """Who occurs in these letters, by the partitions that they came from."""
    found: defaultdict[TopicPartition, set[str]] = defaultdict(set)
    for each in judged:
        letter, event = opened(each.record), each.event
        visitor = event and visitor_of(event.anonymous_id, event.user_id)
        if letter is not None and visitor:
            found[letter.source].add(visitor)
    return found


def judged(settings: Settings, cluster: Cluster, tp: TopicPartition, record: Record, letter: Letter) -> Judged:
    """The event of a letter that lies at `tp`, and what would become of it now. Raises KafkaUnavailableError."""
    owner = Ownership(letter.group, _ANY_NUMBER)
    with rehearser_of(settings) as rehearser:

        def judge(visitors: Visitors) -> Judged:
            return rehearser.rehearse(tp, [record], Reopener(owner, Selection(), visitors)).judged[0]

        found = judge({})
        visitors = visitors_of([found])
        return judge(known_of(settings, cluster, visitors)) if visitors else found
