"""A call of Signal's as the event that comes of it. No clock, no Kafka and no bytes; ids and times are arguments.

What the words of a call mean is a table; what surrounds every event is made up, and the same each time.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from worker.emit.pairs import Fields, fields_of, is_pair, is_text
from worker.errors import SettingsError

ANONYMOUS_ID = "df_test_visitor"
ESSENTIAL = "essential"  # granted whatever a visitor chooses

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MILLISECOND = dt.timedelta(milliseconds=1)

# Neither a campaign nor a referrer from elsewhere: where a test event reaches the real Dreamdata, no channel is to be
# credited with it.
_BROWSER: Mapping[str, object] = {
    "ip": "192.0.2.10",
    "userAgent": "Mozilla/5.0 (X11; Linux x86_64; rv:139.0) Gecko/20100101 Firefox/139.0",
    "locale": "en-US",
    "timezone": "America/New_York",
    "page": {
        "url": "https://www.example.com/pricing?plan=team",
        "path": "/pricing",
        "title": "Pricing",
        "referrer": "https://www.example.com/",
        "search": "?plan=team",
    },
    "device": {"type": "desktop", "width": 1440},
}


class Signature(NamedTuple):
    """How a call is written: the field its first word fills, whether there must be one, and what its pairs become."""

    first: str
    must: bool
    pairs: str
    example: str


SIGNATURES: Mapping[str, Signature] = {
    "page": Signature("name", must=False, pairs="properties", example="Pricing plan=team"),
    "track": Signature("event", must=True, pairs="properties", example='"Lead Generated" form_id=demo-request'),
    "identify": Signature("userId", must=False, pairs="traits", example="user-123 email=jane.doe@acme.com"),
    "group": Signature("groupId", must=True, pairs="traits", example="acme-inc employees:=120"),
}


@dataclass(frozen=True, slots=True)
class Call:
    """One call on a site, and who made it: at least one of the two ids is there."""

    type: str
    named: str | None
    fields: Fields
    anonymous_id: str | None
    user_id: str | None

    @property
    def visitor(self) -> str:
        """The record's key: one visitor's events are to stay in one partition."""
        return self.anonymous_id or self.user_id or ""


def call_of(kind: str, words: Sequence[str], anonymous_id: str, user_id: str) -> Call:
    """The call these words make; an empty id is none. Raises SettingsError with everything that is wrong."""
    signature = SIGNATURES[kind]
    problems: list[str] = []
    named, pairs = (None, words) if not words or is_pair(words[0]) else (words[0], words[1:])
    if not named and signature.must:
        problems.append(f"{kind} needs its {signature.first} before any key=text: {kind} {signature.example}")
    if kind == "identify" and named:
        if user_id:
            problems.append("The userId is given twice: as the first word and with --user-id; allowed: once.")
        user_id = named
    if not anonymous_id and not user_id:
        problems.append("Without an anonymousId there must be a userId (--user-id): the event would be nobody's.")
    if not all(is_text(word) for word in (named or "", anonymous_id, user_id)):
        problems.append("A name or an id is not UTF-8.")
    try:
        fields = fields_of(pairs)
    except SettingsError as error:
        raise SettingsError(problems + error.problems) from None
    if problems:
        raise SettingsError(problems)
    return Call(kind, named or None, fields, anonymous_id or None, user_id or None)


def event_of(call: Call, message_id: str, timestamp_ms: int, granted: Sequence[str]) -> dict[str, object]:
    """The event, with the shipped schema's names. `granted`: categories beside the one that always is."""
    signature = SIGNATURES[call.type]
    return {
        "type": call.type,
        "messageId": message_id,
        "anonymousId": call.anonymous_id,
        signature.first: call.named,
        "userId": call.user_id,
        "timestamp": timestamp_ms,
        signature.pairs: call.fields,
        "context": {**_BROWSER, "consent": {"canonical": dict.fromkeys((ESSENTIAL, *granted), True)}},
    }


def epoch_ms(moment: str) -> int:
    """An ISO-8601 moment in milliseconds since 1970, cut, not rounded. Raises SettingsError."""
    try:
        parsed = dt.datetime.fromisoformat(moment)
    except ValueError:
        raise SettingsError(["--timestamp is no ISO-8601 moment; allowed: 2026-06-06T11:11:14.000Z."]) from None
    if parsed.tzinfo is None:
        raise SettingsError(["--timestamp has no zone; allowed: with Z, or an offset such as +02:00."])
    return (parsed - _EPOCH) // _MILLISECOND
