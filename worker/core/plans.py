"""How the bytes of one writer schema become an event: a plan is made once per schema and read with once per record.

Nothing in here knows framings, registries or files (`decoding.py`, `schemas.py`), and nothing judges an event: an
unreadable timestamp is None here and becomes a dead letter where decisions are made.

Two things a reader must know. Whatever a record's bytes raise is a `DecodeError`, so that no bytes can end the process.
And its message never holds content: it ends up in a header that operators read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from struct import error as StructError  # noqa: N812 - an exception, whatever struct calls it
from typing import Any, cast

import fastavro
import msgspec
from fastavro.schema import SchemaParseException, UnknownType

from worker.core.avro.event_reader import EventReader
from worker.core.events import CAMPAIGN, IDS, PAGE, SNAKE_CASE, Cleanup, Datum, DecodeError, Event, plain
from worker.core.schema_facts import (
    Survey,
    Wanted,
    branches,
    compared,
    is_record,
    tells_instant,
    units_per_millisecond,
    without_timestamp_type,
)
from worker.core.shaping import shaped

Read = Callable[[bytes, int], Event]

_WANTED: Wanted = (
    *((name, ()) for name in ("type", "event", "name", *IDS, "timestamp", "properties", "traits")),
    (
        "context",
        (
            ("ip", ()),
            ("userAgent", ()),
            ("page", tuple((name, ()) for name in PAGE)),
            ("campaign", tuple((name, ()) for name in CAMPAIGN)),
            ("consent", ()),
        ),
    ),
)


class SchemaError(Exception):
    """This is no Avro schema. Says where it breaks the rules of Avro; a record has nothing to do with it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Reads the records of one writer schema. Make it with `plan()`, with `json_plan()` where events are JSON, or
    with `refusal()` where no record can be read.

    `read(value, start)` is the event whose body begins at `start` and ends with `value`; any bytes raise DecodeError or
    nothing. `fields_found` and `fields_missing` name what the schema can tell of an event, as `context.page.url`; of a
    map only the map itself is named, because its content shows in the records alone. `tells_instant` is False where no
    value of `timestamp` can say what instant it means; `refused` says why no record at all can be read.
    """

    read: Read
    fields_found: tuple[str, ...] = ()
    fields_missing: tuple[str, ...] = ()
    tells_instant: bool = True
    refused: str = ""


def plan(schema: object, named_schemas: Mapping[str, object] | None = None) -> Plan:
    """Makes the plan of a writer schema, given as parsed JSON, which is left as it is.

    `named_schemas` are the types it refers to without defining them: full name to definition, as fastavro's
    `parse_schema` fills it. Raises SchemaError if it is no Avro schema. A schema that no event can have (its top level
    is no record) makes a plan that refuses every record.
    """
    names: dict[str, Any] = dict(named_schemas or {})
    try:
        parsed: Any = fastavro.parse_schema(cast(Any, without_timestamp_type(schema)), names)
    except UnknownType as error:
        raise SchemaError(f"it uses the type {error.name}, which it does not define") from None
    except SchemaParseException as error:
        raise SchemaError(str(error)) from None
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise SchemaError(f"it is not built like an Avro schema ({type(error).__name__}: {error})") from None
    if parsed == []:
        raise SchemaError("it is a union of nothing")  # fastavro lets it pass, and the record without fields
    if not is_record(parsed):
        return refusal("the writer schema's top level is not a record")
    if not isinstance(cast(Any, schema).get("fields"), list):
        raise SchemaError("it is a record without fields")
    survey = Survey(parsed, names)
    if survey.bomb:
        return refusal("the writer schema has an array whose items take no bytes: a few bytes could claim any length")
    found, missing = compared([parsed], _WANTED, SNAKE_CASE, names)
    reader = EventReader(parsed, names, survey.recursive, units_per_millisecond(schema), cleanups(parsed, names))
    return Plan(_guarded(reader.read), tuple(found), tuple(missing), tells_instant(schema))


def cleanups(schema: Any, names: Mapping[str, Any]) -> Mapping[str, Cleanup]:
    """What is to be done to the free objects of this schema, where something is."""
    fields = {field["name"]: field["type"] for field in schema["fields"]}
    properties, traits = fields.get("properties", "null"), fields.get("traits", "null")
    return {
        **({"properties": plain} if Survey(properties, names).odd else {}),
        **_traits_cleanup(traits, names),
    }


def _traits_cleanup(schema: Any, names: Mapping[str, Any]) -> Mapping[str, Cleanup]:
    clean = plain if Survey(schema, names).odd else None
    if not any(is_record(branch) for branch in branches(schema, names)):
        return {"traits": clean} if clean else {}

    def without_nulls(value: Any) -> Any:
        # a record cannot leave a field out: null in it says "absent", where in a map it says "remove"
        value = clean(value) if clean else value
        return {name: trait for name, trait in value.items() if trait is not None} if type(value) is dict else value

    return {"traits": without_nulls}


def refusal(detail: str) -> Plan:
    """A plan for a schema that was found but is not for events: every record is undecodable, and `detail` says why."""

    def refuse(_value: bytes, _start: int) -> Event:
        raise DecodeError(detail)

    return Plan(refuse, refused=detail)


def json_plan() -> Plan:
    """A plan for events that are JSON texts in UTF-8 rather than Avro: a file's lines. It is as lenient with names.

    A number in `timestamp` counts milliseconds, as in the shipped schema.
    """
    return Plan(lambda value, start: shaped(_json_datum(value, start), 1, {}))


def _json_datum(value: bytes, start: int) -> Datum:
    try:
        datum: Datum = msgspec.json.decode(memoryview(value)[start:], type=dict)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        # `from None`: what does not parse may be anything, and messages hold no content
        raise DecodeError("it is no JSON object") from None
    return datum


def _guarded(read: Read) -> Read:
    def read_event(value: bytes, start: int) -> Event:
        try:
            return read(value, start)
        except DecodeError:
            raise
        except (IndexError, EOFError, StructError):
            raise DecodeError("the bytes end before the event does") from None
        except KeyError:
            raise DecodeError("the bytes do not fit the writer schema (a union has no such branch)") from None
        except Exception as error:  # noqa: BLE001 - no list of what is raised on any bytes could be trusted to be complete
            # `from None`: the message of a UnicodeDecodeError, for one, holds the bytes
            raise DecodeError(f"the bytes do not fit the writer schema ({type(error).__name__})") from None

    return read_event
