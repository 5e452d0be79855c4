"""What one event looks like in a body (contract, "Event fields"): names, order, times, ids, bytes. No decision whether
it is sent.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from math import isfinite
from uuid import UUID, uuid5

import msgspec

from worker.core.records import Record, TopicPartition

# One fixed name space, so that derived ids are the same in every version of the worker: uuid5(NAMESPACE_DNS,
# "dreamdata-worker").
ID_NAMESPACE = UUID("2f37222d-2f5f-5a98-82a4-0858d83cac90")

MAX_MESSAGE_ID_CHARACTERS = 100

# Partitions are read side by side, and a backlog's clocks are hours apart.
REMEMBERED_MINUTES = 1_000

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # UTC by definition; naive arithmetic takes half the time
_encode = msgspec.json.Encoder().encode


# for what follows the minute of a time: to format a number takes longer than all the rest
_SECONDS = tuple(f"{second:02}." for second in range(60))
_MILLISECONDS = tuple(f"{milliseconds:03}Z" for milliseconds in range(1_000))


class NotJsonError(ValueError):
    """Reject: JSON has no word for something in what would be sent, or it is nested too deeply to be written."""


class Timestamps:
    """Writes the times of events, which mostly fall into the minute of the one before: dates are worked out once a
    minute.
    """

    def __init__(self) -> None:
        self._minutes: dict[int, str] = {}

    def text(self, timestamp_ms: int) -> str:
        """`2026-06-06T11:11:14.000Z` for UTC epoch milliseconds between the years 0001 and 9999."""
        second, milliseconds = divmod(timestamp_ms, 1_000)
        minute, second = divmod(second, 60)
        return (self._minutes.get(minute) or self._begin(minute)) + _SECONDS[second] + _MILLISECONDS[milliseconds]

    def _begin(self, minute: int) -> str:
        if len(self._minutes) >= REMEMBERED_MINUTES:
            self._minutes.clear()
        text = (_EPOCH + timedelta(minutes=minute)).isoformat().removesuffix("00")
        self._minutes[minute] = text
        return text


def derived_message_id(tp: TopicPartition, record: Record) -> str:
    """The id of an event that has none: always the same for the same Kafka record, on redelivery, replay and redrive
    alike.
    """
    return str(uuid5(ID_NAMESPACE, f"{tp.topic}:{tp.partition}:{record.offset}:{record.timestamp_ms}"))


def batch_id(message_ids: Iterable[str]) -> str:
    """The id of a batch, derived from what is in it; 36 characters."""
    digest = hashlib.sha1("\n".join(message_ids).encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()
    return str(UUID(bytes=digest[:16], version=5))


class Payload(msgspec.Struct, omit_defaults=True, rename="camel", gc=False):
    """One event as Dreamdata reads it, fields in the order of the contract's example; absent ones are left out."""

    type: str
    event: str | None = None
    name: str | None = None
    anonymous_id: str | None = None
    user_id: str | None = None
    message_id: str = ""
    timestamp: str = ""
    properties: dict[str, object] | None = None
    traits: dict[str, object] | msgspec.Raw | None = None
    context: dict[str, object] | None = None


def encode(item: object, *free: dict[str, object] | None) -> bytes:
    """The item as UTF-8 JSON without white space. Raises NotJsonError.

    `free` are those objects in it that may hold anything: the encoder writes `null` for NaN and infinity.
    """
    try:
        payload = _encode(item)
        for part in free:
            if part and not _all_finite(part.values()):
                raise NotJsonError("NaN or infinity")
    except RecursionError:
        raise NotJsonError("nesting too deep") from None
    return payload


def _all_finite(values: Iterable[object]) -> bool:
    for value in values:
        if isinstance(value, str):
            continue
        if isinstance(value, float):
            if not isfinite(value):
                return False
        elif isinstance(value, dict):
            if not _all_finite(value.values()):
                return False
        elif isinstance(value, list | tuple) and not _all_finite(value):
            return False
    return True
