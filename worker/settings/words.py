"""Settings in words: what a value looks like in a list, what is allowed for it. No secret passes through here."""

import re
from enum import Enum
from types import NoneType, UnionType
from typing import Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import SecretStr
from pydantic.fields import FieldInfo

HIDDEN = "***"
NOT_SET = "-"
_SHOWN_CHARACTERS = 60
_SENSITIVE_PROPERTY = re.compile(r"password|secret|token|credential|assertion|jaas|\.pem$|config$", re.IGNORECASE)
_KINDS: dict[object, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def shown(value: object) -> str:
    """A value in one line, written as in the environment; secrets as `***`."""
    match value:
        case None:
            return NOT_SET
        case SecretStr():
            return HIDDEN
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(map(str, value))
        case float():
            return f"{value:g}"
        case dict():
            entries = (
                (name, HIDDEN if _SENSITIVE_PROPERTY.search(name) else shown(item)) for name, item in value.items()
            )
            return ", ".join(f"{name}={item}" for name, item in entries) or NOT_SET
    return str(value)


def written(raw: object) -> str:
    """What somebody wrote, short enough for a message. Not for secrets, tables and addresses."""
    text = repr(raw)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def allowed(field: FieldInfo) -> str:
    """What the field's type and bounds let through."""
    kind = _plain(field.annotation)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(str(member.value) for member in kind)
    words = _KINDS.get(kind, "text")
    bounds = [_bound(item) for item in field.metadata]
    return " ".join([words, " and ".join(filter(None, bounds))]).strip()


def _plain(annotation: object) -> object:
    """`int` for `int | None`."""
    if get_origin(annotation) in (Union, UnionType):
        return next((_plain(arm) for arm in get_args(annotation) if arm is not NoneType), annotation)
    return get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation


def _bound(item: object) -> str:
    match item:
        case Ge():
            return f"of at least {item.ge}"
        case Gt():
            return f"above {item.gt}"
        case Le():
            return f"at most {item.le}"
    return ""
