"""Moments and spans of time as people write them on a command line. No clock and no time zone of this machine: what has
no zone is UTC.
"""

import re
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SPAN = re.compile(r"(\d{1,6})\s*([smhdw])")
_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}

MOMENTS_ALLOWED = (
    "allowed: a date (2026-06-01) or a time (2026-06-01T09:30, 2026-06-01T09:30:00+02:00), UTC without a zone"
)


def moment_ms(text: str) -> int:
    """Epoch milliseconds of a date, or of a date and time, in ISO 8601. Raises ValueError, whose text goes on after the
    option's name.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no moment; {MOMENTS_ALLOWED}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def span_ms(text: str) -> int | None:
    """Milliseconds of `90m`, `36h`, `30d` and the like; None where it is none."""
    match = _SPAN.fullmatch(text.strip())
    return int(match[1]) * _UNITS_MS[match[2]] if match else None


def iso(epoch_ms: int) -> str:
    """UTC, to the second, or to the millisecond where that matters; `-` where Kafka has no time."""
    if epoch_ms < 0:
        return "-"
    try:
        moment = _EPOCH + timedelta(milliseconds=epoch_ms)
    except OverflowError:
        return "-"
    return moment.isoformat(timespec="milliseconds" if epoch_ms % 1000 else "seconds").replace("+00:00", "Z")
