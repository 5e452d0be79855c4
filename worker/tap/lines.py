"""Moments as lines for a terminal, or for a pipe. Reads pictures as they come off the stream; asks for nothing.

Names and ids in them were chosen by whoever sends events: what a terminal could take for a command is written out.
"""

import json
from collections.abc import Mapping
from typing import Any

from rich.text import Text

from worker.tap.moments import Seen

# Any: JSON off the wire
Picture = Mapping[str, Any]

_STYLES = {
    Seen.PENDING: "dim",
    Seen.RETRIED: "yellow",
    Seen.REFUSED: "yellow",
    Seen.HELD: "bold magenta",
    Seen.DELIVERED: "green",
    Seen.FILTERED: "cyan",
    Seen.DEAD_LETTERED: "bold red",
}
_OUTCOME_COLUMNS = max(map(len, Seen)) + 2
_GRANTED = {True: "granted", False: "denied", None: "missing"}


def line(picture: Picture) -> Text:
    """Time of day, outcome, event, messageId, place, and why or what the API said."""
    outcome = picture["outcome"]
    text = Text()
    text.append(f"{_time_of_day(picture['at'])}  ", "dim")
    text.append(f"{outcome:<{_OUTCOME_COLUMNS}}", _STYLES.get(outcome, ""))
    text.append(f"{printable(picture['event'] or '-'):<18}  {printable(picture['messageId'] or '-'):<20}  ")
    text.append(f"{picture['topic']}[{picture['partition']}]@{picture['offset']}  ", "dim")
    text.append(_end(picture))
    return text


def stages(picture: Picture) -> list[Text]:
    """The four stages an event goes through, as far as this one has come."""
    shown: list[Text] = []
    for name in ("input", "consent", "payload", "answer"):
        words = _stage(name, picture)
        if words:
            first, *rest = words.splitlines()
            shown.append(Text.assemble((f"    {name:<9}", "bold"), first))
            shown += [Text(" " * 13 + following) for following in rest]
    return shown


def _end(picture: Picture) -> str:
    answer = picture["answer"] or {}
    words = [picture["reason"], f"({printable(picture['detail'])})" if picture["detail"] else "", _status(answer)]
    attempts = answer.get("attempts") or 0
    if attempts > 1:
        words.append(f"attempt {attempts}")
    return " ".join(word for word in words if word)


def _status(answer: Picture) -> str:
    status = str(answer.get("status", ""))
    return f"HTTP {status}" if status.isdecimal() else status


def _stage(name: str, picture: Picture) -> str:
    stage = picture[name]
    match name:
        case "consent" if stage is not None:
            return ", ".join(f"{printable(category)} {_GRANTED[value]}" for category, value in stage.items()) or (
                "not required"
            )
        case "answer" if stage is not None:
            return _answer(stage)
        case "input" if stage is None:
            return f"cannot be read: {printable(picture['detail'])}" if picture["detail"] else "null"
    return "" if stage is None else printable(json.dumps(stage, indent=2, ensure_ascii=False))


def _answer(answer: Picture) -> str:
    words = [
        _status(answer),
        f"attempt {answer['attempts']}" if answer["attempts"] else "",
        "" if answer["milliseconds"] is None else f"after {answer['milliseconds']} ms",
        "" if answer["events"] is None else f"in a batch of {answer['events']}",
        printable(answer.get("text", "")),
    ]
    return ", ".join(word for word in words if word)


def printable(text: str) -> str:
    """With every character that is none to be seen written as its code, but for line breaks."""
    return "".join(letter if letter.isprintable() or letter == "\n" else f"\\u{ord(letter):04x}" for letter in text)


def _time_of_day(at: str) -> str:
    """Of an ISO time in UTC, to the millisecond, as the log lines have it."""
    return at[11:23]
