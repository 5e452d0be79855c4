"""Words of a command line as properties or traits: `key=text`, `key:=json`. Nothing is known of events.

What the shipped schema cannot hold is refused in here, with the key's name: Avro's writer would cut it, bend it, or
fail with words about unions.
"""

import json
import math
from collections.abc import Iterable

from worker.errors import SettingsError

# of the shipped schema: arrays and maps within each other, below properties or traits itself
MAX_LEVELS = 5
_LONGS = range(-(2**63), 2**63)

Fields = dict[str, object]


def is_pair(word: str) -> bool:
    """Whether it is written as a pair, so that it can be no name."""
    return "=" in word


def is_text(word: str) -> bool:
    """Whether Avro can write it: bytes of the command line that are not UTF-8 come as halves of surrogate pairs."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def fields_of(words: Iterable[str]) -> Fields:
    """All pairs by key, in their order. Raises SettingsError with every problem, none of which repeats a value.

    The first `=` ends the key; a colon right before it says that JSON follows.
    """
    fields: Fields = {}
    problems: list[str] = []
    for number, word in enumerate(words, start=1):
        key, equals, text = word.partition("=")
        is_json = key.endswith(":")
        key = key.removesuffix(":")
        if not equals or not key:
            problems.append(f"Pair {number} is written as neither key=text nor key:=json.")
        elif key in fields:
            problems.append(f"{key} is given twice; allowed: once. An array is written {key}:='[1, 2]'.")
        else:
            fields[key] = text
            try:
                fields[key] = _parsed(text) if is_json else text
                _check(key, MAX_LEVELS)
                _check(fields[key], MAX_LEVELS)
            except ValueError as error:
                problems.append(f"{key} {error}.")
    if problems:
        raise SettingsError(problems)
    return fields


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError(_too_deep()) from None
    except ValueError:
        raise ValueError("is no JSON behind its :=; text is written key=text, JSON key:='\"text\"'") from None


def _check(value: object, levels: int) -> None:
    """Raises ValueError, to be read behind the key, where the shipped schema has no place for it."""
    match value:
        case str() if not is_text(value):
            raise ValueError("holds half a surrogate pair, or bytes that are not UTF-8")
        case int() if value not in _LONGS:
            raise ValueError("holds a whole number beyond 64 bits; allowed: as text")
        case float() if not math.isfinite(value):
            raise ValueError("holds NaN, or a number too large for a double, which JSON to Dreamdata cannot carry")
        case list() | dict() if levels == 0:
            raise ValueError(_too_deep())
        case list():
            for item in value:
                _check(item, levels - 1)
        case dict():
            for name, item in value.items():
                _check(name, 0)
                _check(item, levels - 1)


def _too_deep() -> str:
    return f"is nested deeper than the shipped schema holds; allowed: {MAX_LEVELS} levels of arrays and maps"
