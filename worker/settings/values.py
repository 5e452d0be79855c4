"""How one value is written: words, lists, tables, addresses, topic names. Nothing here knows two settings at once.

What is raised here reaches the user behind the variable's name, so every text goes on from there.
No text repeats a value that could hold a password.
"""

import json
import re
from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr

MAX_TOPIC_CHARACTERS = 249  # org.apache.kafka.common.internals.Topic.MAX_NAME_LENGTH
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_BROKER = re.compile(r"(?:[A-Z_]+://)?(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?")
NOT_REQUIRED = "not-required"
CONSENT_CATEGORIES = ("essential", "functional", "analytics", "marketing", "personalization", "advertising")


class Variant(StrEnum):
    B2B_SAAS = "b2b_saas"
    DEFAULT = "default"


class UnmappedEvents(StrEnum):
    DROP = "drop"
    FORWARD = "forward"


class GroupProtocol(StrEnum):
    CLASSIC = "classic"
    CONSUMER = "consumer"


class SaslMechanism(StrEnum):
    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


def is_topic_name(name: str) -> bool:
    """Whether Kafka takes it as a topic's name."""
    return _TOPIC.fullmatch(name) is not None and name not in (".", "..")


def is_loopback(host: str) -> bool:
    """`localhost`, 127.0.0.0/8, `::1`, and the same written as IPv4 in IPv6. A name is not looked up."""
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped.is_loopback if mapped is not None else address.is_loopback


def _items(value: object) -> object:
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError("is no list of names; allowed: names with commas between them, or an array in the file")
    return tuple(dict.fromkeys(item.strip() for item in value if item.strip()))


def _pattern_or_items(value: object) -> object:
    """A pattern may hold commas (`^a{1,2}$`), so it is not cut."""
    if isinstance(value, str) and value.strip().startswith("^"):
        return (value.strip(),)
    return _items(value)


def _topics(topics: tuple[str, ...]) -> tuple[str, ...]:
    allowed = "allowed: names of letters, digits, '.', '_' and '-', or one pattern that starts with ^"
    if not topics:
        raise ValueError(f"names no topic; {allowed}")
    if any(topic.startswith("^") for topic in topics):
        if len(topics) > 1:
            raise ValueError(f"mixes a pattern with other topics; {allowed}")
        try:
            re.compile(topics[0])
        except re.error as error:
            raise ValueError(f"holds a pattern that does not compile ({error}); {allowed}") from None
        return topics
    if wrong := [topic for topic in topics if not is_topic_name(topic)]:
        raise ValueError(f"holds {', '.join(map(repr, wrong))}, which Kafka takes for no topic name; {allowed}")
    return topics


def _brokers(brokers: tuple[str, ...]) -> tuple[str, ...]:
    allowed = "allowed: host:port, with commas between them"
    if not brokers:
        raise ValueError(f"names no broker; {allowed}")
    if any(_BROKER.fullmatch(broker) is None for broker in brokers):
        raise ValueError(f"holds something that is no broker's address; {allowed}")
    return brokers


def _consent(value: object) -> object:
    items = _items(value)
    allowed = f"allowed: the categories that must all be granted, or {NOT_REQUIRED}"
    if items == ():
        raise ValueError(f"names no category; {allowed}")
    if items == (NOT_REQUIRED,):
        return ()
    if isinstance(items, tuple) and NOT_REQUIRED in items:
        raise ValueError(f"mixes {NOT_REQUIRED} with categories; {allowed}")
    return items


def _traits(value: object) -> object:
    items = _items(value)
    if items == ("*",):
        return None
    if isinstance(items, tuple) and "*" in items:
        raise ValueError("mixes * with names; allowed: names of traits, or * alone for all of them")
    return items


def _table(value: object) -> object:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError("is no JSON; allowed: a JSON object, or a table in the file") from None
    if not isinstance(value, dict):
        raise ValueError("is no table; allowed: a JSON object, or a table in the file")
    return value


def _mapping(value: object) -> object:
    table = _table(value)
    assert isinstance(table, dict)
    allowed = 'allowed: Signal\'s name with Dreamdata\'s, or false to switch it off: {"Demo Booked": "demo_booked"}'
    for name, target in table.items():
        if not name.strip():
            raise ValueError(f"maps an empty name; {allowed}")
        if target is True:
            raise ValueError(f"maps {name!r} to true, which does not say what it is called at Dreamdata; {allowed}")
        if target is not False and not (isinstance(target, str) and target.strip()):
            raise ValueError(f"maps {name!r} to neither a name nor false; {allowed}")
    return table


def _properties(value: object) -> object:
    table = _table(value)
    assert isinstance(table, dict)
    for name, setting in table.items():
        if not isinstance(setting, str | int | float | bool):
            raise ValueError(f"gives {name} a value that is neither text, number, true nor false")
    return table


def _web_address(url: str) -> str:
    """Without the slash at its end, so that a path can be added. No message repeats it: it may hold a password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or re.search(r"\s", url):
        raise ValueError("is no web address; allowed: https://host, with a port and a path if need be")
    if parts.username is not None or parts.password is not None:
        raise ValueError("carries a user name or password; they have settings of their own")
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise ValueError("carries a query or fragment; allowed: https://host, with a port and a path if need be")
    return url.rstrip("/")


def _delivery_address(url: str) -> str:
    parts = urlsplit(_web_address(url))
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError("would send the key and people's data unencrypted; allowed: https, or http to this machine")
    return _web_address(url)


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _upper(value: object) -> object:
    return value.strip().upper() if isinstance(value, str) else value


def _one_line(secret: SecretStr) -> SecretStr:
    """Without the line break that `echo` left at its end; spaces may be part of it."""
    text = secret.get_secret_value().rstrip("\r\n")
    if not text.strip():
        raise ValueError("is empty")
    if "\n" in text:
        raise ValueError("has more than one line")
    return SecretStr(text)


Topics = Annotated[tuple[str, ...], BeforeValidator(_pattern_or_items), AfterValidator(_topics)]
Brokers = Annotated[tuple[str, ...], BeforeValidator(_items), AfterValidator(_brokers)]
ConsentCategories = Annotated[tuple[str, ...], BeforeValidator(_consent)]
Traits = Annotated[tuple[str, ...] | None, BeforeValidator(_traits)]
EventNames = Annotated[dict[str, str | Literal[False]], BeforeValidator(_mapping)]
KafkaProperties = Annotated[dict[str, str | int | float | bool], BeforeValidator(_properties)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
DeliveryAddress = Annotated[str, AfterValidator(_delivery_address)]
Level = Annotated[LogLevel, BeforeValidator(_lower)]
Format = Annotated[LogFormat, BeforeValidator(_lower)]
Mechanism = Annotated[SaslMechanism, BeforeValidator(_upper)]
Secret = Annotated[SecretStr, AfterValidator(_one_line)]
