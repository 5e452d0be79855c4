"""What one event looks like in a body (contract, "Event fields"): names, order, times, ids, bytes. No decision whether
it is sent.
"""

import hashlib
from collections.abc import Iterable, Mapping
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
        minute, milliseconds = divmod(timestamp_ms, 60_000)
        return f"{self._minutes.get(minute) or self._begin(minute)}{milliseconds / 1000:06.3f}Z"

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


def encode(item: Mapping[str, object]) -> bytes:
    """The item as UTF-8 JSON without white space. Raises NotJsonError."""
    try:
        payload = _encode(item)
        # The encoder writes `null` for NaN and infinity, so only an item that has a null at all needs the slow look.
        finite = b"null" not in payload or _all_finite(item)
    except RecursionError:
        raise NotJsonError("nesting too deep") from None
    if not finite:
        raise NotJsonError("NaN or infinity")
    return payload


def _all_finite(value: object) -> bool:
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, Mapping):
        return all(map(_all_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_all_finite, value))
    return True
