"""A dead letter as a Kafka record: the original bytes, the original headers, and the worker's own `dl-` headers (DESIGN
§3). No client.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from worker import __version__
from worker.core.outcomes import DeadLetter
from worker.core.records import Headers, TopicPartition

PREFIX = "dl-"
MAX_DETAIL_BYTES = 1024
MAX_GROUP_BYTES = 1024
MAX_HTTP_BODY_BYTES = 1024

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def headers_of(letter: DeadLetter, tp: TopicPartition, group: str, wall_ms: Callable[[float], int]) -> Headers:
    """The record's own headers, then the worker's, all text in UTF-8, the latter 4 KB at most together.

    `wall_ms` turns the loop's monotonic seconds into epoch milliseconds.
    """
    record = letter.record
    own: dict[str, str] = {
        "dl-reason": letter.reason.value,
        "dl-detail": _cut(letter.detail, MAX_DETAIL_BYTES),
        "dl-stage": letter.stage.value,
        "dl-topic": tp.topic,
        "dl-partition": str(tp.partition),
        "dl-offset": str(record.offset),
        "dl-timestamp": _iso(record.timestamp_ms),
        "dl-first-failed-at": _iso(wall_ms(letter.failed_at)),
        "dl-schema": "" if letter.schema is None else str(letter.schema),
        "dl-http-status": "" if letter.http_status is None else str(letter.http_status),
        "dl-http-body": _cut(letter.http_body, MAX_HTTP_BODY_BYTES),
        "dl-attempts": str(letter.attempts),
        "dl-worker-version": __version__,
        "dl-group": _cut(group, MAX_GROUP_BYTES),
        "dl-redrives": "0",
    }
    original = tuple(header for header in record.headers if not header[0].startswith(PREFIX))
    return original + tuple((name, value.encode("utf-8", "replace")) for name, value in own.items() if value)


def _iso(epoch_ms: int) -> str:
    """ISO, UTC, milliseconds; empty where the broker gave no time, or one outside the calendar."""
    if epoch_ms < 0:
        return ""
    try:
        moment = _EPOCH + timedelta(milliseconds=epoch_ms)
    except OverflowError:
        return ""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cut(text: str, max_bytes: int) -> str:
    return text.encode("utf-8", "replace")[:max_bytes].decode("utf-8", "ignore")
