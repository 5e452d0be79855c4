"""Compares what is rendered with what was expected: the lines `render --json` wrote at another time.

What differs at every attempt (`sentAt`) or is meant for people's eyes (`detail`) does not count.
"""

import difflib
from collections.abc import Sequence

import msgspec

from worker.errors import SettingsError
from worker.render.lines import BodyLine, Line, RecordLine, as_text, width_of

_read = msgspec.json.Decoder(RecordLine | BodyLine).decode


def parsed(name: str, content: bytes) -> list[Line]:
    """The lines of such a file. Raises SettingsError naming the first that is none."""
    lines: list[Line] = []
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            lines.append(_read(line))
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise SettingsError([f"--expect: line {number} of {name} is none that render --json has written"]) from None
    return lines


def difference(name: str, before: Sequence[Line], after: Sequence[Line]) -> list[str]:
    """A unified diff of what was expected and what is rendered, as people read them; empty where nothing differs."""
    width = width_of([*before, *after])
    return list(
        difflib.unified_diff(
            list(as_text(before, width=width, details=False)),
            list(as_text(after, width=width, details=False)),
            name,
            "rendered",
            lineterm="",
        )
    )
