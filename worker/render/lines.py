"""How a rehearsal is written down: as JSON lines for scripts, as text for people. Both say the same; decides nothing.

The fields of the JSON lines are an interface (`docs/render.md`): fields are added, never renamed.
"""

import json
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from worker.core.batching import Batch, Item
from worker.core.outcomes import DeadLetter, Outcome, Reason
from worker.core.records import TopicPartition
from worker.render.inputs import JSON_LINES
from worker.render.rehearsal import Judged, Rehearsal, Waiting

# `sentAt` is new at every attempt. In here it is always this, so that two runs of `render` say the same.
SENT_AT = "1970-01-01T00:00:00.000Z"

WAITING = "waiting"

# C1 and DEL: a terminal may obey them, and JSON lets them pass
_UNPRINTABLE = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}


class RecordLine(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="record"):
    """What becomes of one record. `type`, `name` and `message_id` are Signal's, None where they are missing or the
    record cannot be read; `event` is what Dreamdata gets to read. `source` is where a dead letter was read at first.
    """

    topic: str
    partition: int
    offset: int
    outcome: str
    reason: str = ""
    type: str | None = None
    name: str | None = None
    event: str | None = None
    message_id: str | None = None
    identified: bool | None = None
    stage: str | None = None
    schema: str | None = None
    detail: str | None = None
    source: str | UnsetType = UNSET

    @property
    def place(self) -> str:
        return f"{TopicPartition(self.topic, self.partition)}@{self.offset}"


class BodyLine(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="body"):
    """One request's body, byte for byte but for `sentAt`. It answers for the offsets `[first_offset, next_offset)`."""

    topic: str
    partition: int
    first_offset: int
    next_offset: int
    events: int
    bytes: int
    body: msgspec.Raw

    @property
    def title(self) -> str:
        return (
            f"body of {TopicPartition(self.topic, self.partition)}, offsets [{self.first_offset}, {self.next_offset}): "
            f"{counted(self.events, 'event')}, {self.bytes} bytes"
        )


Line = RecordLine | BodyLine


class _Sent(msgspec.Struct):
    type: str
    event: str | None = None


def lines_of(rehearsal: Rehearsal) -> list[Line]:
    """The records in the order of their offsets, then the bodies in the order they would be sent."""
    records = [_record_line(rehearsal.tp, judged) for judged in rehearsal.judged]
    return [*records, *map(_body_line, rehearsal.batches)]


def _record_line(tp: TopicPartition, judged: Judged) -> RecordLine:
    event = judged.event
    line = RecordLine(
        topic=tp.topic,
        partition=tp.partition,
        offset=judged.record.offset,
        outcome=Outcome.FILTERED.value,
        type=event.type if event else None,
        name=(event.name if event.type == "page" else event.event) if event else None,
        message_id=event.message_id if event else None,
    )
    match judged.decision:
        case Item(payload=payload, message_id=message_id, identified=identified):
            sent = msgspec.json.decode(payload, type=_Sent)
            return replace(
                line,
                outcome=Outcome.DELIVERED.value,
                event=sent.event or sent.type,
                message_id=message_id,
                identified=identified,
            )
        case DeadLetter(outcome=Outcome.FILTERED, reason=left_out):
            return replace(line, reason=left_out.value)
        case DeadLetter(reason=reason, stage=stage, schema=schema, detail=detail):
            return replace(
                line,
                outcome=Outcome.DEAD_LETTERED.value,
                reason=reason.value,
                stage=stage.value,
                schema=str(schema) if schema and schema != JSON_LINES else None,
                detail=detail,
            )
        case Waiting(reason=waits_for, detail=detail):
            return replace(line, outcome=WAITING, reason=waits_for, detail=detail)
        case Reason() as filtered:
            return replace(line, reason=filtered.value)


def _body_line(batch: Batch) -> BodyLine:
    return BodyLine(
        topic=batch.tp.topic,
        partition=batch.tp.partition,
        first_offset=batch.first_offset,
        next_offset=batch.next_offset,
        events=len(batch.items),
        bytes=batch.size,
        body=msgspec.Raw(batch.body(SENT_AT)),
    )


def chosen(lines: Iterable[Line], only: str | None) -> list[Line]:
    """All of them, or the "outcomes" or "bodies" alone."""
    kinds = {"outcomes": RecordLine, "bodies": BodyLine}
    return [line for line in lines if only is None or isinstance(line, kinds[only])]


def waits(lines: Iterable[Line]) -> bool:
    """Whether `run` would not come to the end of these records."""
    return any(isinstance(line, RecordLine) and line.outcome == WAITING for line in lines)


def json_of(line: Line) -> bytes:
    return msgspec.json.encode(line)


def as_text(lines: Sequence[Line], *, width: int | None = None, details: bool = True) -> Iterator[str]:
    """For people, without line ends. Places are padded to `width`, if they are to line up with others."""
    width = width or width_of(lines)
    for line in lines:
        if isinstance(line, RecordLine):
            yield _record_text(line, width, details=details)
        else:
            yield line.title
            yield from _pretty(line.body)


def width_of(lines: Iterable[Line]) -> int:
    return max((len(line.place) for line in lines if isinstance(line, RecordLine)), default=0)


def _record_text(line: RecordLine, width: int, *, details: bool) -> str:
    name = f" {json.dumps(line.name, ensure_ascii=False)}" if line.name else ""
    parts = [
        line.place.ljust(width),
        line.outcome.ljust(13),
        (line.event or line.reason).ljust(16),
        _printable(line.message_id or "-"),
        f"({line.type}{name})" if line.type else "",
        "" if isinstance(line.source, UnsetType) else f"from {line.source}",
    ]
    text = "  ".join(parts[:4] + [part for part in parts[4:] if part]).rstrip()
    return (f"{text}: {line.detail}" if details and line.detail else text).translate(_UNPRINTABLE)


def _printable(text: str) -> str:
    return text if text.isprintable() else json.dumps(text, ensure_ascii=False)


def _pretty(body: msgspec.Raw) -> list[str]:
    parsed = msgspec.json.decode(body)
    if isinstance(parsed, dict) and "sentAt" in parsed:
        parsed["sentAt"] = SENT_AT
    formatted = msgspec.json.format(msgspec.json.encode(parsed), indent=2)
    return formatted.decode().translate(_UNPRINTABLE).split("\n")


def summary(lines: Sequence[Line]) -> str:
    """One sentence that counts everything."""
    records = [line for line in lines if isinstance(line, RecordLine)]
    bodies = [line for line in lines if isinstance(line, BodyLine)]
    words = [Outcome.DELIVERED.value, Outcome.FILTERED.value, Outcome.DEAD_LETTERED.value, WAITING]
    counts = {word: sum(line.outcome == word for line in records) for word in words}
    listed = ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "none"
    sizes = f"{counted(len(bodies), 'body', 'bodies')}, {sum(line.bytes for line in bodies)} bytes"
    return f"{counted(len(records), 'record')}: {listed}; {sizes}. Nothing was sent or committed."


def counted(number: int, one: str, many: str = "") -> str:
    """`1 record`, `2 records`."""
    return f"{number} {one if number == 1 else many or one + 's'}"
