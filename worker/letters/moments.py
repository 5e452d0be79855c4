"""Moments as people write them: a date, a time, or how long ago. No clock: now is an argument."""

import re
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_AGO = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment_ms(text: str, now_ms: int) -> int:
    """Epoch milliseconds of `2026-06-01`, `2026-06-01T10:00`, `2026-06-01T10:00:00+02:00` or `2h` (ago); UTC where no
    zone is said. Raises ValueError, in words.
    """
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now_ms - timedelta(**{_UNITS[ago[2]]: int(ago[1])}) // timedelta(milliseconds=1)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time: 2026-06-01, 2026-06-01T10:00Z or 2h (ago) would be") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def age(milliseconds: int) -> str:
    """`5 s`, `3 min`, `7 h`, `12 d`: rounded down."""
    seconds = max(0, milliseconds) // 1000
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
