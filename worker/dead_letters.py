"""A dead letter as a Kafka record, and back: the original bytes and headers, and the worker's own `dl-` headers (DESIGN
§3). No client.

Whatever lies in a dead-letter topic may be anybody's: what is no letter of a worker's opens as None and raises nothing.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

from worker import __version__
from worker.core.outcomes import DeadLetter
from worker.core.records import Headers, Record, TopicPartition

PREFIX = "dl-"
MAX_DETAIL_BYTES = 1024
MAX_GROUP_BYTES = 1024
MAX_HTTP_BODY_BYTES = 1024
MAX_TOPIC_CHARACTERS = 249  # Kafka's own

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter that was opened again.

    `source` and `record` are what the worker read at first: the record with the offset, time and headers it had there,
    however often it was sent again since. `first_failed_at_ms` is of that first failure (-1: not said), `attempts`
    counts the API's answers to all tries; what else there is tells of the last failure.
    """

    source: TopicPartition
    record: Record
    reason: str
    group: str
    detail: str = ""
    stage: str = ""
    schema: str = ""
    first_failed_at_ms: int = -1
    http_status: int | None = None
    http_body: str = ""
    attempts: int = 0
    redrives: int = 0
    worker_version: str = ""


class _Unreadable(ValueError):  # noqa: N818 - never leaves this module
    """A header that a worker would not have written."""


def headers_of(letter: DeadLetter, tp: TopicPartition, group: str, wall_ms: Callable[[float], int]) -> Headers:
    """The record's own headers, then the worker's, all text in UTF-8, the latter 4 KB at most together.

    `wall_ms` turns the loop's monotonic seconds into epoch milliseconds.
    """
    failed_at_ms = wall_ms(letter.failed_at)
    return _headers(letter, tp, letter.record, group, failed_at_ms, attempts=letter.attempts, redrives=0)


def headers_again(letter: DeadLetter, first: Letter) -> Headers:
    """Of a letter that was sent again and has failed again: it goes on naming the first source record.

    `letter.record` is the record of the dead-letter topic, `first` what it opens as.
    """
    return _headers(
        letter,
        first.source,
        first.record,
        first.group,
        first.first_failed_at_ms,
        attempts=first.attempts + letter.attempts,
        redrives=first.redrives + 1,
    )


def _headers(
    letter: DeadLetter,
    source: TopicPartition,
    record: Record,
    group: str,
    first_failed_at_ms: int,
    *,
    attempts: int,
    redrives: int,
) -> Headers:
    own: dict[str, str] = {
        "dl-reason": letter.reason.value,
        "dl-detail": _cut(letter.detail, MAX_DETAIL_BYTES),
        "dl-stage": letter.stage.value,
        "dl-topic": source.topic,
        "dl-partition": str(source.partition),
        "dl-offset": str(record.offset),
        "dl-timestamp": time_text(record.timestamp_ms),
        "dl-first-failed-at": time_text(first_failed_at_ms),
        "dl-schema": "" if letter.schema is None else str(letter.schema),
        "dl-http-status": "" if letter.http_status is None else str(letter.http_status),
        "dl-http-body": _cut(letter.http_body, MAX_HTTP_BODY_BYTES),
        "dl-attempts": str(attempts),
        "dl-worker-version": __version__,
        "dl-group": written_group(group),
        "dl-redrives": str(redrives),
    }
    return own_headers(record.headers) + tuple(
        (name, value.encode("utf-8", "replace")) for name, value in own.items() if value
    )


def opened(record: Record) -> Letter | None:
    """What a record of a dead-letter topic holds; None where no worker has written it."""
    texts = {name: (value or b"").decode(errors="replace") for name, value in record.headers if name.startswith(PREFIX)}
    try:
        source = TopicPartition(texts["dl-topic"], _number(texts["dl-partition"]))
        if not 0 < len(source.topic) <= MAX_TOPIC_CHARACTERS:
            return None
        return Letter(
            source=source,
            record=Record(
                _number(texts["dl-offset"]),
                _time_ms(texts.get("dl-timestamp", "")),
                record.key,
                record.value,
                own_headers(record.headers),
            ),
            reason=texts["dl-reason"],
            group=texts["dl-group"],
            detail=texts.get("dl-detail", ""),
            stage=texts.get("dl-stage", ""),
            schema=texts.get("dl-schema", ""),
            first_failed_at_ms=_time_ms(texts.get("dl-first-failed-at", "")),
            http_status=_number(texts["dl-http-status"]) if "dl-http-status" in texts else None,
            http_body=texts.get("dl-http-body", ""),
            attempts=_number(texts.get("dl-attempts", "0")),
            redrives=_number(texts.get("dl-redrives", "0")),
            worker_version=texts.get("dl-worker-version", ""),
        )
    except (KeyError, _Unreadable):
        return None


def own_headers(headers: Headers) -> Headers:
    """Those the record came with, without the worker's."""
    return tuple(header for header in headers if not header[0].startswith(PREFIX))


def written_group(group: str) -> str:
    """A group's name as `dl-group` has it."""
    return _cut(group, MAX_GROUP_BYTES)


def time_text(epoch_ms: int) -> str:
    """ISO, UTC, milliseconds; empty where the broker gave no time, the bare number where it is outside the calendar: a
    derived messageId is made of it.
    """
    if epoch_ms < 0:
        return ""
    try:
        moment = _EPOCH + epoch_ms * _MILLISECOND
    except OverflowError:
        return str(epoch_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _time_ms(text: str) -> int:
    if not text:
        return -1
    if text.isdecimal():
        return _number(text)
    try:
        return (datetime.fromisoformat(text) - _EPOCH) // _MILLISECOND
    except (ValueError, TypeError):
        raise _Unreadable(text) from None


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 19):
        raise _Unreadable(text)
    return int(text)


def _cut(text: str, max_bytes: int) -> str:
    return text.encode("utf-8", "replace")[:max_bytes].decode("utf-8", "ignore")
