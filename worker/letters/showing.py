"""One dead letter, whole: its headers, its event, and what would become of it now. Personal data is masked in here,
unless it is asked for.

The fields of the JSON are an interface (`docs/dead-letters.md`): fields are added, never renamed.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from worker.core.batching import Item
from worker.core.decoding import Event
from worker.core.outcomes import DeadLetter, Outcome, Reason
from worker.core.records import Record
from worker.dead_letters import PREFIX, time_text
from worker.letters.rows import Row, as_json
from worker.letters.words import NO_LETTER, printable
from worker.masking import masked_event, masked_text
from worker.render.lines import WAITING
from worker.render.rehearsal import Judged, Waiting
from worker.tap.pictures import in_signals_words

# what an API answers may quote the event
_QUOTES = "dl-http-body"


@dataclass(frozen=True, slots=True)
class Shown:
    """`judged` None: it is no worker's letter, so nobody knows what it was made of."""

    row: Row
    record: Record
    event: Event | None
    judged: Judged | None


def shown_as_json(shown: Shown, *, reveal: bool) -> dict[str, object]:
    return {
        **as_json(shown.row),
        "key": None if shown.record.key is None else _text(shown.record.key),
        "bytes": len(shown.record.value or b""),
        "headers": [[name, value] for name, value in _headers(shown.record, reveal=reveal)],
        "event": _event(shown, reveal=reveal),
        "now": _now(shown, reveal=reveal),
    }


def _headers(record: Record, *, reveal: bool) -> Iterator[tuple[str, str | None]]:
    for name, value in record.headers:
        text = None if value is None else _text(value)
        if text is not None and not reveal and (name == _QUOTES or not name.startswith(PREFIX)):
            text = masked_text(text)
        yield name, text


def _text(value: bytes) -> str:
    return value.decode(errors="backslashreplace")


def _event(shown: Shown, *, reveal: bool) -> Mapping[str, object] | None:
    if shown.event is None:
        return None
    event = in_signals_words(shown.event)
    return event if reveal else masked_event(event)


def _now(shown: Shown, *, reveal: bool) -> dict[str, object] | None:
    """In the words of the metric `records_total`; "waiting" where a redrive would come no further."""
    if shown.judged is None:
        return None
    outcome, reason, detail, payload = Outcome.FILTERED.value, "", None, None
    match shown.judged.decision:
        case Item(payload=made):
            item = msgspec.json.decode(made)
            outcome, payload = Outcome.DELIVERED.value, item if reveal else masked_event(item)
        case DeadLetter() as letter:
            outcome, reason, detail = Outcome.DEAD_LETTERED.value, letter.reason.value, letter.detail
        case Waiting() as waiting:
            outcome, reason, detail = WAITING, waiting.reason, waiting.detail
        case Reason() as filtered:
            reason = filtered.value
    return {"outcome": outcome, "reason": reason, "detail": detail, "payload": payload}


def shown_in_words(shown: Shown, *, reveal: bool) -> Iterator[str]:
    row, record = shown.row, shown.record
    size = f"{len(record.value or b''):,} bytes"
    yield f"{row.tp}@{row.offset}, {row.state.value}, written {time_text(row.written_ms)}, {size}"
    yield f"key: {'none' if record.key is None else printable(_text(record.key))}"
    yield "headers:"
    headers = list(_headers(record, reveal=reveal))
    width = max((len(printable(name)) for name, _ in headers), default=0)
    for name, text in headers:
        yield f"  {printable(name).ljust(width)}  {'(null)' if text is None else printable(text)}".rstrip()
    event = _event(shown, reveal=reveal)
    yield "event: it cannot be read" if event is None else f"event:\n{_pretty(event)}"
    yield from _now_in_words(_now(shown, reveal=reveal))


def _now_in_words(now: dict[str, object] | None) -> Iterator[str]:
    match now:
        case None:
            yield f"now: {NO_LETTER}: a redrive leaves it where it is found"
        case {"outcome": Outcome.DELIVERED.value, "payload": payload}:
            yield f"now: it would be sent as\n{_pretty(payload)}"
        case {"outcome": Outcome.FILTERED.value, "reason": reason}:
            yield f"now: it would be filtered: {reason}"
        case {"outcome": outcome, "reason": reason, "detail": detail}:
            again = "a redrive would wait" if outcome == WAITING else "it would fail again"
            yield printable(f"now: {again}: {reason}: {detail}")


def _pretty(value: object) -> str:
    return "\n".join(f"  {printable(line)}" for line in json.dumps(value, indent=2, ensure_ascii=False).split("\n"))
