"""Dead letters for people's eyes: a list, and what it adds up to. Nothing is read or decided in here."""

from collections.abc import Iterator, Sequence

from worker.letters.rows import Counts, Row
from worker.letters.selection import State
from worker.moments import iso

NO_LETTER = "(no worker's)"
_HEADINGS = ("failed first", "age", "letter", "reason", "source", "status", "attempts", "redrives", "state")
_LONGEST = 60  # topics may have names of 249 characters; the JSON has them whole

# C0, C1 and DEL: a terminal may obey them, and anybody may have written the headers
_UNPRINTABLE = {code: f"\\u{code:04x}" for code in (*range(0x20), *range(0x7F, 0xA0))}


def table(rows: Sequence[Row], now_ms: int, *, with_topic: bool) -> Iterator[str]:
    """A heading, and a line each; nothing where there are none. `with_topic`: they lie in more than one topic."""
    if rows:
        yield from _aligned([_HEADINGS, *(_cells(row, now_ms, with_topic=with_topic) for row in rows)])


def _cells(row: Row, now_ms: int, *, with_topic: bool) -> tuple[str, ...]:
    letter = row.letter
    place = f"{row.tp.partition}:{row.offset}"
    return (
        iso(row.failed_ms - row.failed_ms % 1000) if row.failed_ms >= 0 else "-",
        age(now_ms - row.failed_ms) if row.failed_ms >= 0 else "",
        f"{row.tp.topic} {place}" if with_topic else place,
        letter.reason if letter else NO_LETTER,
        f"{letter.source}@{letter.record.offset}" if letter else "",
        str(letter.http_status or "") if letter else "",
        str(letter.attempts) if letter else "",
        str(letter.redrives) if letter else "",
        row.state.value,
    )


def totals(counts: Counts) -> Iterator[str]:
    """How many of each reason, and how far a redrive is with them."""
    reasons = sorted({reason for reason, _ in counts})
    states = [state for state in State if any(counts[reason, state] for reason in reasons)]
    lines = [("", "letters", *states)]
    for reason in reasons:
        by_state = [counts[reason, state] for state in states]
        lines.append((reason or NO_LETTER, f"{sum(by_state):,}", *(f"{number:,}" for number in by_state)))
    if len(reasons) > 1:
        by_state = [sum(counts[reason, state] for reason in reasons) for state in states]
        lines.append(("in all", f"{counts.total():,}", *(f"{number:,}" for number in by_state)))
    yield from _aligned(lines, right_from=1)


def _aligned(lines: Sequence[Sequence[str]], right_from: int | None = None) -> Iterator[str]:
    shown = [[_short(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for line in shown:
        cells = [
            cell.rjust(width) if right_from is not None and number >= right_from else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _short(cell: str) -> str:
    text = printable(cell)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def printable(text: str) -> str:
    return text.translate(_UNPRINTABLE)


def age(milliseconds: int) -> str:
    """`5 s`, `3 min`, `7 h`, `12 d`: rounded down."""
    seconds = max(0, milliseconds) // 1000
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
