"""What a moment looks like to a watcher: the four stages input, consent, payload and answer, as JSON. Personal data is
masked here, before anything leaves the process; what is large is cut.

Runs on the status server's thread, for what is really sent to a watcher.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from worker.core.consent import ALWAYS_GRANTED
from worker.core.decoding import Event
from worker.core.payloads import Timestamps
from worker.masking import masked_event
from worker.tap.moments import Moment, Reply

# An event may weigh 500 KB. Nobody reads more of one on a terminal than this, and many of them fit into a socket.
STAGE_MAX_BYTES = 16_000
FIELD_MAX_BYTES = 2_000

_HIDDEN = "not shown without --reveal: it may quote the event"

Stage = dict[str, object]


class Pictures:
    """`required` are the consent categories that the worker asks for, none where it does not ask."""

    def __init__(self, required: Sequence[str]) -> None:
        self._required = required

    def draw(self, moment: Moment, event: Event | None, *, reveal: bool) -> bytes:
        """The moment as one line of JSON. `event` is its record's, None where that cannot be read."""
        picture = {
            "at": _iso(moment.at_ms),
            "outcome": moment.seen.value,
            "reason": moment.reason.value,
            "messageId": moment.message_id,
            "event": moment.name,
            "topic": moment.tp.topic,
            "partition": moment.tp.partition,
            "offset": moment.record.offset,
            "detail": moment.detail,
            "input": None if event is None else _shown(in_signals_words(event), reveal=reveal),
            "consent": None if event is None else self._consent(event),
            "payload": None if moment.payload is None else _shown(msgspec.json.decode(moment.payload), reveal=reveal),
            "answer": None if moment.reply is None else _answer(moment.reply, reveal=reveal),
        }
        return msgspec.json.encode(picture)

    def _consent(self, event: Event) -> Stage:
        """Each required category, and whether it is granted: true, false, or null where the event does not say so."""
        given = event.consent or {}
        found = {name: given.get(name) for name in self._required}
        stage: Stage = {name: value if isinstance(value, bool) else None for name, value in found.items()}
        return stage | ({ALWAYS_GRANTED: True} if ALWAYS_GRANTED in stage else {})


def in_signals_words(event: Event) -> Stage:
    """In Signal's words, absent fields left out."""
    timestamp = None if event.timestamp_ms is None else Timestamps().text(event.timestamp_ms)
    fields: Stage = {
        "type": event.type,
        "event": event.event,
        "name": event.name,
        "messageId": event.message_id,
        "anonymousId": event.anonymous_id,
        "userId": event.user_id,
        "groupId": event.group_id,
        "timestamp": timestamp,
        "properties": event.properties,
        "traits": event.traits,
        "context": {**event.context, "consent": event.consent} if event.consent is not None else event.context or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _shown(item: Mapping[str, object], *, reveal: bool) -> object:
    try:
        return _cut(item if reveal else masked_event(item))
    except RecursionError:
        return "(nested too deeply to be shown)"


def _cut(item: Mapping[str, object]) -> Mapping[str, object]:
    """The item where it is small; else every large field, or the large ones within it, replaced by their sizes."""
    if _size(item) <= STAGE_MAX_BYTES:
        return item
    smaller = {name: _cut_field(value) for name, value in item.items()}
    if _size(smaller) <= STAGE_MAX_BYTES:
        return smaller
    return {name: _or_its_size(value) for name, value in smaller.items()}


def _cut_field(value: object) -> object:
    if isinstance(value, Mapping) and _size(value) > FIELD_MAX_BYTES:
        return {name: _or_its_size(inner) for name, inner in value.items()}
    return _or_its_size(value)


def _or_its_size(value: object) -> object:
    size = _size(value)
    return value if size <= FIELD_MAX_BYTES else f"(cut: {size} bytes)"


def _size(value: object) -> int:
    return len(msgspec.json.encode(value))


def _answer(reply: Reply, *, reveal: bool) -> Stage:
    stage: Stage = {"status": reply.status, "attempts": reply.attempts or None}
    stage |= {"milliseconds": reply.milliseconds, "events": reply.events}
    if reply.text:
        stage["text"] = reply.text if reveal or not reply.quotes else _HIDDEN
    return stage


def _iso(epoch_ms: int) -> str:
    moment = datetime.fromtimestamp(epoch_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
