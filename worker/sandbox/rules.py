"""What the stand-in refuses: as much as the contract knows of what the API refuses, and nothing that is only our taste.

Bodies in, values out: no HTTP, clock or state in here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import msgspec

BODY_LIMIT_BYTES = 500_000  # a body of this size is already too big

_TYPES = ("page", "track", "identify")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_DECODING_FAILURES = (msgspec.DecodeError, UnicodeDecodeError)


class Item(msgspec.Struct, frozen=True):
    """One entry of a batch: its JSON as it came, and its fields (None where the entry is not an object)."""

    json: bytes
    fields: dict[str, object] | None

    @property
    def message_id(self) -> str:
        """Empty where there is none: the API takes such an event."""
        return _text((self.fields or {}).get("messageId"))


class Batch(msgspec.Struct, frozen=True):
    message_id: str
    items: tuple[Item, ...]

    @property
    def message_ids(self) -> tuple[str, ...]:
        return tuple(item.message_id for item in self.items)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the whole body is refused; `index` and `message_id` name the item where it is one item's fault."""

    status: int
    error: str
    index: int | None = None
    message_id: str = ""


class _Envelope(msgspec.Struct):
    batch: list[msgspec.Raw]
    messageId: object = ""  # noqa: N815  # the name on the wire


def read(body: bytes, length: int) -> Batch | Refusal:
    """Takes a body of `length` bytes apart, whatever its items are worth. One that is too big need not be there."""
    if length >= BODY_LIMIT_BYTES:
        return Refusal(413, f"the body has {length} bytes or more: it must be smaller than {BODY_LIMIT_BYTES}")
    try:
        envelope = msgspec.json.decode(body, type=_Envelope)
        items = tuple(_item(bytes(raw)) for raw in envelope.batch)
    except _DECODING_FAILURES as error:
        return Refusal(400, f"the body is not a JSON object with an array `batch`: {error}")
    if not items:
        return Refusal(400, "the batch is empty")
    return Batch(_text(envelope.messageId), items)


def first_refusal(batch: Batch) -> Refusal | None:
    """The first item that is wrong, and how. One bad item refuses the whole batch."""
    for index, item in enumerate(batch.items):
        for problem in _problems(item.fields):
            return Refusal(400, f"batch[{index}] (messageId {item.message_id!r}): {problem}", index, item.message_id)
    return None


def _problems(fields: dict[str, object] | None) -> Iterator[str]:
    if fields is None:
        yield "is not an object"
        return
    kind = fields.get("type")
    if kind not in _TYPES:
        yield f"type is none of {', '.join(_TYPES)}"
    if kind == "track" and not _text(fields.get("event")):
        yield "a track without an event name"
    if not (_text(fields.get("anonymousId")) or _text(fields.get("userId"))):
        yield "neither anonymousId nor userId is a non-empty string"
    if not _is_timestamp(fields.get("timestamp")):
        yield "timestamp is not of the form 2026-06-06T11:11:14.000Z"


def _is_timestamp(value: object) -> bool:
    text = _text(value)
    if not _TIMESTAMP.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _item(json: bytes) -> Item:
    value = msgspec.json.decode(json)
    return Item(json, value if isinstance(value, dict) else None)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
