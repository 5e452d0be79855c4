"""What a redrive has done, or would do: how many letters were read, and what became of each. It adds up. Reads nothing.

The fields of the JSON are an interface (`docs/dead-letters.md`): fields are added, never renamed.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from worker.core.batching import Item
from worker.core.outcomes import DeadLetter, Outcome, Reason
from worker.dead_letters import opened
from worker.finish import Standings
from worker.letters.repeats import Repeats
from worker.render.rehearsal import Judged, Waiting

_SEPARATOR = "/"


@dataclass(slots=True)
class Summary:
    """`lost` offsets were deleted before they were read, `left` ones are still to be gone through. `foreign` are
    those among `left_out` that are another group's or no worker's. `most_redrives` is
    of the exhausted ones that a rehearsal has seen, `repeats` of those it would deliver.
    """

    delivered: int = 0
    filtered: Counter[str] = field(default_factory=Counter)
    returned: Counter[str] = field(default_factory=Counter)
    left_out: int = 0
    foreign: int = 0
    exhausted: int = 0
    most_redrives: int = 0
    repeats: Repeats = field(default_factory=Repeats)
    waiting: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    left: int = 0

    @property
    def read(self) -> int:
        counted = self.filtered.total() + self.returned.total() + self.waiting.total()
        return self.delivered + counted + self.left_out + self.exhausted

    def count(self, outcome: str, reason: str, number: int) -> None:
        if outcome == Outcome.DELIVERED:
            self.delivered += number
        elif outcome == Outcome.DEAD_LETTERED:
            self.returned[reason] += number
        elif reason in (Reason.NOT_SELECTED, Reason.FOREIGN):
            self.left_out += number
            self.foreign += number if reason == Reason.FOREIGN else 0
        elif reason == Reason.EXHAUSTED:
            self.exhausted += number
        else:
            self.filtered[reason] += number


@dataclass(slots=True)
class Unmatched:
    """How many letters wait, of which none is asked for; and of those that are, how many are exhausted."""

    waiting: int = 0
    exhausted: int = 0
    most_redrives: int = 0

    def __str__(self) -> str:
        if self.waiting:
            said = f"None of the {_counted(self.waiting, 'dead letter')} that would be sent again is asked for."
        else:
            said = "No dead letter waits to be sent again."
        if not self.exhausted:
            return said
        number = "1 exhausted one is" if self.exhausted == 1 else f"{self.exhausted:,} exhausted ones are"
        return f"{said} {number}: {_would_send(self.exhausted, self.most_redrives)}."


def summary_of(standings: Standings) -> Summary:
    """Of all processes of the run together."""
    summary = Summary()
    for standing in standings.values():
        for name, number in standing.stretch.counted.items():
            outcome, _, reason = name.partition(_SEPARATOR)
            summary.count(outcome, reason, number)
        summary.lost += standing.stretch.lost
        summary.left += standing.left
    return summary


def count_judged(summary: Summary, judged: Judged) -> None:
    """Of a rehearsal: what would become of one letter, were the API to take all."""
    letter = opened(judged.record)
    if letter is not None and judged.decision is Reason.EXHAUSTED:
        summary.most_redrives = max(summary.most_redrives, letter.redrives)
    if letter is not None and isinstance(judged.decision, Item):
        summary.repeats.take(letter)
    match judged.decision:
        case Item():
            summary.count(Outcome.DELIVERED, "", 1)
        case DeadLetter() as buried:
            summary.count(buried.outcome, buried.reason, 1)
        case Waiting(reason=reason):
            summary.waiting[reason] += 1
        case Reason() as reason:
            summary.count(Outcome.FILTERED, reason, 1)


def in_words(summary: Summary, *, rehearsed: bool) -> Iterator[str]:
    """A line for each that there is, and what it adds up to. `rehearsed`: nothing of it has happened."""
    would = "would be " if rehearsed else ""
    yield f"{_counted(summary.read, 'dead letter')} read{':' if summary.read else '.'}"
    yield from _line(summary.delivered, f"{would}delivered", {})
    yield from _line(summary.filtered.total(), f"{would}filtered", summary.filtered)
    yield from _line(summary.returned.total(), f"{would}returned: failed again", summary.returned)
    yield from _line(summary.waiting.total(), "would be waited with", summary.waiting)
    not_asked_for = summary.left_out - summary.foreign
    yield from _line(not_asked_for, f"{would}left out: not asked for; written again as found", {})
    foreign = "another group's, or no worker's; written again as found"
    yield from _line(summary.foreign, f"{would}left out: {foreign}", {})
    yield from _line(summary.exhausted, f"exhausted: {_of_exhausted(summary, rehearsed=rehearsed)}", {})
    if said := str(summary.repeats):
        yield f"{said}."
    if summary.lost:
        yield f"{_counted(summary.lost, 'offset')} before them had been deleted by retention."
    if summary.left:
        yield f"{_counted(summary.left, 'offset')} still to go: the same command goes on there."


def _of_exhausted(summary: Summary, *, rehearsed: bool) -> str:
    if rehearsed:
        hint = _would_send(summary.exhausted, summary.most_redrives)
        return f"sent again too often, a redrive passes them by for good; {hint}"
    return (
        "sent again too often, passed by, they stay where they are; only with the group's offset moved back below "
        "them, and --max-redrives above their redrives, would they be sent (`list --state exhausted`)"
    )


def _would_send(number: int, most_redrives: int) -> str:
    return f"--max-redrives {most_redrives + 1} would send {'it' if number == 1 else 'them'}"


def _line(number: int, what: str, reasons: Mapping[str, int]) -> Iterator[str]:
    if number:
        listed = ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons.items()))
        yield f"  {number:>8,} {what}{f' ({listed})' if listed else ''}"


def as_json(summary: Summary) -> dict[str, object]:
    return {
        "read": summary.read,
        "delivered": summary.delivered,
        "filtered": dict(summary.filtered),
        "returned": dict(summary.returned),
        "left_out": summary.left_out,
        "foreign": summary.foreign,
        "exhausted": summary.exhausted,
        "waiting": dict(summary.waiting),
        "lost": summary.lost,
        "left": summary.left,
    }


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
