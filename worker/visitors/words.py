"""What is found of a visitor and done about one, for people and for scripts. Nothing is read, written or decided here.

The fields of the JSON are an interface (`docs/identity.md`): fields are added, never renamed.
"""

import json
from collections.abc import Iterable, Iterator

from worker.core.payloads import Timestamps
from worker.masking import masked, masked_text
from worker.topics import Config
from worker.visitors.forgetting import Forgotten
from worker.visitors.sources import Letter, Letters, Log
from worker.visitors.traces import Trace

_MS_PER_DAY = 24 * 60 * 60 * 1000
_NEVER_MS = 2**62  # Kafka's default for "no limit" is more
# Of dead letters, and of visitors with the same userId: more are counted, not listed.
MAX_LISTED = 50


def as_json(trace: Trace, *, reveal: bool) -> dict[str, object]:
    state = trace.state
    user_id, traits = (state.user_id, state.traits) if state else (None, {})
    return {
        "topic": trace.tp.topic,
        "partition": trace.tp.partition,
        "visitor": trace.visitor,
        "known": state is not None,
        "userId": user_id if reveal or user_id is None else masked_text(user_id),
        "identifiedAt": _moment(state.identified_at_ms) if state else None,
        "traits": traits if reveal else masked(traits),
        "sourceOffset": trace.source_offset,
        "entries": trace.entries,
        "forgottenUntil": trace.forgotten_until or None,
    }


def _moment(timestamp_ms: int) -> str:
    """Where an identify had no time of its own, its record's counts, and that may be none of the calendar's."""
    try:
        return Timestamps().text(timestamp_ms)
    except OverflowError:
        return f"{timestamp_ms} ms after 1970"


def in_words(trace: Trace, log: Log, ttl_days: int, *, reveal: bool) -> Iterator[str]:
    """One partition's share; nothing where the log has no entry of the visitor."""
    if not trace.entries:
        return
    said = as_json(trace, reveal=reveal)
    yield f"{trace.visitor} in {trace.tp} ({log.name}, {_counted(trace.entries, 'entry', 'entries')}):"
    if trace.forgotten_until:
        yield f"  forgotten   by an operator, with all that lies before offset {trace.forgotten_until} of {trace.tp}"
    if not said["known"]:
        yield "  known       nothing" + ("" if trace.forgotten_until else ": forgotten, or learned after the commit")
        return
    yield f"  learned     from the identify at offset {trace.source_offset} of {trace.tp}"
    yield f"  identified  {said['identifiedAt']}, for events of the {ttl_days} days after it"
    if said["userId"] is not None:
        yield f"  userId      {said['userId']}"
    traits = said["traits"]
    assert isinstance(traits, dict)
    width = max([len("identified"), *map(len, traits)])
    for name, value in traits.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield f"  {name.ljust(width)}  {text}".translate(_UNPRINTABLE)


def letters_in_words(topic: str, letters: Letters) -> Iterator[str]:
    """Which dead letters still hold the visitor, and how sure that is."""
    found = letters.found
    if not letters.partitions:
        yield f"There are no dead letters: no topic {topic}, or this user may not see it."
        return
    count = _counted(len(found), "dead letter holds", "dead letters hold") if found else "No dead letter holds"
    yield f"{count} this visitor in {topic}{':' if found else '.'}"
    yield from map(_letter_in_words, found[:MAX_LISTED])
    if len(found) > MAX_LISTED:
        yield f"  … and {len(found) - MAX_LISTED} more"
    if letters.by_key_alone:
        yield (
            f"  {_counted(letters.by_key_alone, 'other')} could not be read, so that only the record's key says it is "
            "not this visitor's"
        )


def _letter_in_words(letter: Letter) -> str:
    return f"  {letter.tp}@{letter.offset}  {letter.reason}  (from {letter.source})"


def forgotten_in_words(forgotten: Forgotten) -> str:
    written = forgotten.written
    if written.offset is None:
        return f"{written.tp}: NOT written: {written.refusal}"
    until = f"offset {forgotten.until} of {forgotten.source}"
    return f"{written.tp}@{written.offset}: forgotten, with all that lies before {until}"


def alike_in_words(traces: Iterable[Trace]) -> Iterator[str]:
    """Other visitors who are known by this userId: whoever asks for the user most likely means them too."""
    alike = sorted({visitor for trace in traces for visitor in trace.alike})
    if alike:
        listed = ", ".join(visitor.removeprefix("a:") for visitor in alike[:MAX_LISTED])
        more = f" and {len(alike) - MAX_LISTED} more" if len(alike) > MAX_LISTED else ""
        yield f"Visitors with this userId, known by their anonymousId: {listed}{more}. Each is asked for by that id."


def erasure(config: Config) -> str:
    """By when Kafka removes entries that are superseded, as the log's settings say; they may not be readable."""
    if not config:
        return "nobody knows here when (this user may not read its settings: DESCRIBE_CONFIGS)"
    bounds = {"max.compaction.lag.ms": int(config.get("max.compaction.lag.ms", _NEVER_MS))}
    if "delete" in config.get("cleanup.policy", ""):
        bounds["retention.ms"] = int(config.get("retention.ms", -1))
    days = {name: bound_ms / _MS_PER_DAY for name, bound_ms in bounds.items() if 0 <= bound_ms < _NEVER_MS}
    if not days:
        return "at a compaction that has no time limit (max.compaction.lag.ms gives it one)"
    name = min(days, key=lambda each: days[each])
    return f"after {days[name]:g} days at the latest ({name})"


# C0, C1 and DEL: a terminal may obey them
_UNPRINTABLE = {code: f"\\u{code:04x}" for code in (*range(0x20), *range(0x7F, 0xA0))}


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
