"""The traffic of a made-up B2B site as Kafka records, each with the outcome it is to have.

A pure function of a seed: no clock, no I/O, no Kafka, and how an event becomes bytes is the caller's. What is expected
of a record is written down where it is made: the report holds the worker's own counters against it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

from worker.core.outcomes import Outcome, Reason
from worker.demo import jane
from worker.demo.visitors import Event, Step, Visitor, stories

Encode = Callable[[Event], bytes]

REQUIRED_CONSENT = ("analytics", "marketing")
# Enough for Jane, the troublemakers and a visitor or two.
FEWEST_EVENTS = 20

_HOUR_MS = 3_600_000
_VISITORS_AT_ONCE = 30
# A whole request to Dreamdata is smaller than 500,000 bytes; Kafka takes records of up to a million.
_OVERSIZE_CHARACTERS = 600_000
# A first byte of 00 would be the id of a schema in a registry, and wait for one.
_NO_FRAMING = b"\xff"
_NO_SUCH_SCHEMA = b"\xc3\x01" + bytes(range(1, 9))


@dataclass(frozen=True, slots=True)
class Produced:
    """One record for Kafka and the outcome it is to have. `message_id` is empty where the record holds no event."""

    key: bytes
    value: bytes | None
    message_id: str
    outcome: Outcome
    reason: Reason


def produced(step: Step, timestamp_ms: int, encode: Encode) -> Produced:
    """The step as a record of an event that happened at `timestamp_ms` (UTC epoch)."""
    if step.event is None:
        return Produced(step.key.encode(), step.raw, "", step.outcome, step.reason)
    event = {"timestamp": timestamp_ms, **step.event}
    return Produced(step.key.encode(), encode(event), str(event["messageId"]), step.outcome, step.reason)


def recorded(*, seed: int, events: int, encode: Encode) -> list[Produced]:
    """`events` records (FEWEST_EVENTS or more) of the hour of the contract's example, in the order they happened."""
    rng = Random(f"{seed}/times")
    start_ms = jane.LEAD_AT_MS - 20 * 60_000
    timed = [(jane.LEAD_AT_MS + offset_ms, step) for offset_ms, step in jane.STORY]
    timed += [(start_ms + rng.randrange(_HOUR_MS), step) for step in _trouble(Random(f"{seed}/trouble"))]
    everybody = ((at, step) for story in stories(seed) for at, step in _timed(story, start_ms, rng))
    timed += islice(everybody, events - len(timed))
    # Python's sort is stable: what one visitor does within a millisecond stays in order.
    timed.sort(key=lambda entry: entry[0])
    return [produced(step, at_ms, encode) for at_ms, step in timed]


def endless(seed: int) -> Iterator[Step]:
    """What a few dozen visitors do at the same time, without end, now and then something that is no event."""
    rng = Random(f"{seed}/live")
    arriving = stories(seed)
    present = list(islice(arriving, _VISITORS_AT_ONCE))
    while True:
        place = rng.randrange(len(present))
        step = next(present[place], None)
        if step is None:
            present[place] = next(arriving)
            continue
        yield step
        if rng.random() < 0.002:
            yield _dead(step.key, Reason.UNDECODABLE, _NO_FRAMING + rng.randbytes(40))


def _timed(story: Iterator[Step], start_ms: int, rng: Random) -> Iterator[tuple[int, Step]]:
    at_ms = start_ms + rng.randrange(_HOUR_MS)
    for step in story:
        yield at_ms, step
        at_ms += rng.randrange(500, 90_000)


def _trouble(rng: Random) -> list[Step]:
    """One of everything that goes wrong on a bad day."""
    visitors = (_granted(Visitor(rng, -number)) for number in range(8))
    poison, oversize, nameless, nobody, key = (next(visitors) for _ in range(5))
    return [
        _dead(key.anonymous_id, Reason.UNDECODABLE, _NO_FRAMING + rng.randbytes(63)),
        _dead(key.anonymous_id, Reason.UNDECODABLE, b'{"type": "page", "anonymousId": "df_1"}'),
        _dead(key.anonymous_id, Reason.UNDECODABLE, b""),
        _dead(key.anonymous_id, Reason.UNKNOWN_SCHEMA, _NO_SUCH_SCHEMA + rng.randbytes(40)),
        Step(key.anonymous_id, Outcome.FILTERED, Reason.NULL_VALUE),
        _refused(poison.track("Form Submitted", form_id="newsletter", comment="\N{BOMB}"), Reason.REJECTED),
        _refused(oversize.track("Form Submitted", attachment="x" * _OVERSIZE_CHARACTERS), Reason.TOO_LARGE),
        _refused(nameless.track(""), Reason.INVALID_EVENT),
        _refused(nobody.page(), Reason.INVALID_EVENT, anonymousId=None),
    ]


def _granted(visitor: Visitor) -> Visitor:
    visitor.consent, visitor.refused = {"canonical": dict.fromkeys(REQUIRED_CONSENT, True)}, None
    return visitor


def _dead(key: str, reason: Reason, raw: bytes) -> Step:
    return Step(key, Outcome.DEAD_LETTERED, reason, raw=raw)


def _refused(step: Step, reason: Reason, **changed: object) -> Step:
    assert step.event is not None
    return Step(step.key, Outcome.DEAD_LETTERED, reason, {**step.event, **changed})
