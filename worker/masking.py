"""Personal data made unrecognisable for eyes and terminals, on values alone. Nothing is decided in here: what is known
to be harmless keeps its form, every other text does not.

Takes an event in Signal's shape or an item in Dreamdata's, because both use the same names. Structure, names of fields,
numbers, booleans and nulls stay. A hash would be no mask: whoever guesses an email can compute it.
"""

import re
from collections.abc import Callable, Mapping
from urllib.parse import unquote, urlsplit

MASK = "***"

# Deeper than any form or order nests, and far from the recursion limit.
MAX_NESTING = 50

_EMAIL = re.compile(r"(?P<first>[^@\s])[^@\s]*@(?P<host>[^@\s.])[^@\s]*(?P<tld>\.[A-Za-z]{2,10})")


def masked_text(text: str) -> str:
    """Its first letter and `***`, so that two values can be told apart; an email keeps its form, `j***@a***.com`.

    Shorter than three characters: `***` alone.
    """
    if not text:
        return text
    email = _EMAIL.fullmatch(text)
    if email and len(email["first"] + email["host"] + email["tld"]) + 1 < len(text):
        return f"{email['first']}{MASK}@{email['host']}{MASK}{email['tld']}"
    return text[0] + MASK if len(text) > len(MASK) - 1 else MASK


def masked_url(url: str) -> str:
    """Scheme, host and path as they are; query, fragment, user name and password masked, and parts of the path that
    hold an `@`.
    """
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")
    except ValueError:
        return masked_text(url)
    path = "/".join(MASK if "@" in unquote(part) else part for part in parts.path.split("/"))
    return "".join(
        (
            f"{parts.scheme}:" if parts.scheme else "",
            f"//{MASK + '@' if host[1] else ''}{host[2]}" if parts.netloc else "",
            path,
            f"?{MASK}" if parts.query else "",
            f"#{MASK}" if parts.fragment else "",
        )
    )


def masked(value: object, nesting: int = 0) -> object:
    """Every text in it masked, at any depth."""
    if isinstance(value, str):
        return masked_text(value)
    if nesting >= MAX_NESTING and isinstance(value, Mapping | list | tuple):
        return MASK
    if isinstance(value, Mapping):
        return {name: masked(inner, nesting + 1) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked(inner, nesting + 1) for inner in value]
    return value if value is None or isinstance(value, bool | int | float) else MASK


def masked_event(event: Mapping[str, object]) -> dict[str, object]:
    """An event or an item, with what identifies a person masked wherever the contract knows it to be."""
    return {name: _FIELDS.get(name, masked)(value) for name, value in event.items()}


def _as_it_is(value: object) -> object:
    return value


def _of(fields: Mapping[str, Callable[[object], object]]) -> Callable[[object], object]:
    """For an object with these fields; what it has besides is masked."""

    def mask(value: object) -> object:
        if not isinstance(value, Mapping):
            return masked(value)
        return {name: fields.get(name, masked)(inner) for name, inner in value.items()}

    return mask


def _url(value: object) -> object:
    return masked_url(value) if isinstance(value, str) else masked(value)


_CAMPAIGN = dict.fromkeys(("source", "medium", "name", "term", "content"), _as_it_is)
_CONTEXT = {"page": _of({"url": _url, "referrer": _url}), "campaign": _of(_CAMPAIGN)}
_FIELDS: Mapping[str, Callable[[object], object]] = {
    **dict.fromkeys(("type", "event", "messageId", "anonymousId", "timestamp"), _as_it_is),
    "context": _of(_CONTEXT),
}
