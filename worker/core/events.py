"""What the worker knows of one Signal event, and how decoded values of any accepted shape become its parts.

No Avro and no schema in here (`plans.py`), and nothing judges an event: what cannot be read is None or named as
malformed, and becomes a dead letter where decisions are made.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

Datum = dict[str, Any]
# makes a value of a decoded one
Cleanup = Callable[[Any], Any]

PAGE = ("url", "title", "referrer")
CAMPAIGN = ("source", "medium", "name", "term", "content")
IDS = ("messageId", "anonymousId", "userId", "groupId")
SNAKE_CASE = {
    "messageId": "message_id",
    "anonymousId": "anonymous_id",
    "userId": "user_id",
    "groupId": "group_id",
    "userAgent": "user_agent",
}

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_FIRST_MS = -62_135_596_800_000  # 0001-01-01T00:00:00.000Z
_LAST_MS = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z
# what is nested deeper in a JSON text could be read here and break the recursion limit where it is encoded
_MAX_NESTING = 100


class DecodeError(Exception):
    """Reject: this record's bytes cannot be read (reason `undecodable`). Says what is wrong, never what was in them."""


class Event(msgspec.Struct, frozen=True):
    """What the worker knows of one Signal event, whatever its schema looked like.

    Texts are as they came, `type` in lower case; an empty one is None. `timestamp_ms` is the UTC epoch, cut and not
    rounded; None means missing or unreadable. `context` has Dreamdata's shape and order, without empty parts. `consent`
    is the first of its three shapes that was not null; events share it, so nobody may change it. `malformed` is "" or
    the one of `properties` and `traits` that is neither an object nor a string that holds one.
    """

    type: str | None = None
    event: str | None = None
    name: str | None = None
    message_id: str | None = None
    anonymous_id: str | None = None
    user_id: str | None = None
    group_id: str | None = None
    timestamp_ms: int | None = None
    properties: dict[str, object] | None = None
    traits: dict[str, object] | None = None
    consent: Mapping[str, object] | None = None
    context: dict[str, object] = {}
    malformed: str = ""


def timestamp_ms(value: object, units_per_ms: int) -> int | None:
    """Of a number in these units (0: it does not say which), or of an ISO-8601 text with a zone."""
    if type(value) is int and units_per_ms:
        milliseconds = value // units_per_ms
    elif type(value) is str:
        try:
            moment = dt.datetime.fromisoformat(value)
        except ValueError:
            return None
        if moment.tzinfo is None:
            return None
        # no float: timestamp() cannot hold every microsecond
        since = moment - _EPOCH
        milliseconds = since.days * 86_400_000 + since.seconds * 1_000 + since.microseconds // 1_000
    else:
        return None
    return milliseconds if _FIRST_MS <= milliseconds <= _LAST_MS else None


def text(value: object) -> str | None:
    if type(value) is str:
        return value or None
    return str(value) if type(value) is int or type(value) is UUID else None


def json_object(value: Any) -> tuple[Datum | None, bool]:
    """The object, and whether something else stood in its place. If a JSON text has a name twice, the last counts."""
    if value is None or type(value) is dict:
        return value, False
    if type(value) is not str:
        return None, True
    if not value:
        return None, False
    try:
        parsed = msgspec.json.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None, True
    if type(parsed) is not dict or (value.count("[") + value.count("{") > _MAX_NESTING and _too_deep(parsed, 0)):
        return None, True
    return parsed, False


def _too_deep(value: Any, depth: int) -> bool:
    if type(value) is dict:
        value = value.values()
    elif type(value) is not list:
        return False
    return depth >= _MAX_NESTING or any(_too_deep(inner, depth + 1) for inner in value)


def plain(value: Any) -> Any:
    """The same in JSON's own types: times and UUIDs as text, decimals as numbers, bytes in Base64."""
    if type(value) is dict:
        return {name: plain(inner) for name, inner in value.items()}
    if type(value) is list:
        return [plain(inner) for inner in value]
    return float(value) if type(value) is Decimal else msgspec.to_builtins(value)


def consent_of(value: Any) -> Datum | None:
    consent, _ = json_object(value)
    if consent is None:
        return None
    for shape in ("canonical", "categories"):
        if (categories := consent.pop(shape, None)) is not None:
            return categories if type(categories) is dict else None
    return consent


def context_of(context: Datum) -> dict[str, object]:
    shaped: dict[str, object] = {}
    if ip := text(context.get("ip")):
        shaped["ip"] = ip
    user_agent = context.get("userAgent")
    if agent := text(context.get("user_agent") if user_agent is None else user_agent):
        shaped["userAgent"] = agent
    if page := part_of(context.get("page"), PAGE):
        shaped["page"] = page
    if campaign := part_of(context.get("campaign"), CAMPAIGN):
        shaped["campaign"] = campaign
    return shaped


def part_of(value: object, names: tuple[str, ...]) -> dict[str, object] | None:
    if type(value) is not dict:
        return None
    return {name: known for name in names if (known := text(value.get(name)))}
