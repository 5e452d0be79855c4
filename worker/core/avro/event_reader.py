"""The reader of whole events: one function for each writer schema, written out as source and compiled once.

Most of an event are texts in known places, and texts nobody wants. Asking a table which function to call, and calling
it, costs more than reading one; written out field by field it is index arithmetic. Where the schema has something else
in a known place (a map for the page, say), the value is read by `reading.py` and shaped as `shaping.py` would.

The two must agree for all schemas and values: `shaping.py` says slowly what this says fast.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from worker.core.avro.building import null_branch
from worker.core.avro.reading import Read, Value
from worker.core.avro.remembering import remembered
from worker.core.avro.source import Source
from worker.core.events import (
    CAMPAIGN,
    IDS,
    PAGE,
    SNAKE_CASE,
    Cleanup,
    DecodeError,
    Event,
    consent_of,
    context_of,
    json_object,
    part_of,
    text,
    timestamp_ms,
)
from worker.core.schema_facts import Names, branches, is_record, is_text

Fields = Mapping[str, Callable[[Any], None]]

_BOUND: Mapping[str, object] = {
    "Event": Event,
    "consent_of": consent_of,
    "context_of": context_of,
    "json_object": json_object,
    "part_of": part_of,
    "text": text,
    "timestamp_ms": timestamp_ms,
}
_FREE_OBJECT = """\
if type({local}) is not dict and {local} is not None:
    {local}, {local}_malformed = json_object({local})
"""
_WHOLE_CONTEXT = """\
if type(context) is not dict:
    context = {}
consent = consent_of(context.get("consent"))
context = context_of(context)
"""
_RETURN = """\
if at != len(data):
    refuse_end(len(data) - at)
return Event(
    {type},
    {event},
    {name},
    {messageId},
    {anonymousId},
    {userId},
    {groupId},
    timestamp_ms(timestamp, {units_per_ms}),
    properties,
    traits,
    consent,
    context,
    "properties" if properties_malformed else "traits" if traits_malformed else "",
)
"""


class EventReader:
    """Writes the reader of one schema (a record) and compiles it.

    `cleanups` are what is to be done to `properties` and `traits` before anybody looks at them.
    """

    def __init__(
        self, schema: Any, names: Names, recursive: set[str], units_per_ms: int, cleanups: Mapping[str, Cleanup]
    ) -> None:
        self._names = names
        self._cleanups = cleanups
        self._texts: set[str] = set()  # locals that hold a text or None, whatever the bytes were
        self._source = Source(names, recursive, {**_BOUND, "refuse_end": _refuse_end})
        self._write(schema, units_per_ms)
        self.source = str(self._source)
        self.read: Callable[[bytes, int], Event] = self._source.compiled()

    def _write(self, schema: Any, units_per_ms: int) -> None:
        source = self._source
        source.add("properties = traits = timestamp = consent = None")
        source.add("properties_malformed = traits_malformed = False")
        source.add("context = {}")
        texts = ("type", "event", "name", *IDS)
        fields = schema["fields"]
        self._fields(
            fields,
            {
                **self._text_fields("event", texts),
                "timestamp": self._timestamp,
                "properties": partial(self._free_object, "properties"),
                "traits": partial(self._free_object, "traits"),
                "context": partial(self._context, last=bool(fields) and fields[-1]["name"] == "context"),
            },
        )
        has = {field["name"] for field in fields}
        expressions = {name: self._text("event", name, has) for name in texts}
        source.add(f"event_type = {expressions['type']}")
        expressions["type"] = "event_type and event_type.lower()"
        source.add(_RETURN, units_per_ms=units_per_ms, **expressions)

    def _fields(self, declared: Sequence[Any], fields: Fields) -> None:
        for field in declared:
            read = fields.get(field["name"])
            if read is None:
                self._source.skip(field["type"])
            else:
                read(field["type"])

    def _text_fields(self, prefix: str, names: tuple[str, ...]) -> Fields:
        spellings = [*names, *(SNAKE_CASE[name] for name in names if name in SNAKE_CASE)]
        return {name: partial(self._read_text, f"{prefix}_{name}") for name in spellings}

    def _read_text(self, local: str, schema: Any) -> None:
        self._source.text(local, schema)
        if all(branch == "null" or is_text(branch) for branch in branches(schema, self._names)):
            self._texts.add(local)

    def _text(self, prefix: str, name: str, has: set[str]) -> str:
        """The expression for this text, None where it is empty or absent; both spellings: the first that is not null
        counts.
        """
        locals_ = [f"{prefix}_{spelling}" for spelling in (name, SNAKE_CASE.get(name)) if spelling in has]
        match locals_:
            case []:
                return "None"
            case [local]:
                return f"{local} or None" if local in self._texts else f"text({local})"
            case _:
                camel, snake = locals_
                return f"text({snake} if {camel} is None else {camel})"

    def _timestamp(self, schema: Any) -> None:
        self._source.value("timestamp", schema)

    def _free_object(self, local: str, schema: Any) -> None:
        self._source.value(local, schema)
        cleanup = self._cleanups.get(local)
        if cleanup:
            self._source.add(f"{local} = {self._source.bind(cleanup)}({local})")
        self._source.add(_FREE_OBJECT, local=local)

    def _context(self, schema: Any, *, last: bool) -> None:
        """`last`: behind it there is nothing, in no event."""
        texts = ("ip", "userAgent")

        def shape(record: Any) -> None:
            fields: Fields = {
                **self._text_fields("context", texts),
                "page": partial(self._part, "page", PAGE),
                "campaign": partial(self._part, "campaign", CAMPAIGN),
                "consent": self._consent,
            }
            border = _behind_the_page(record) if last else len(record["fields"])
            self._fields(record["fields"][:border], fields)
            self._rest(record["fields"][border:], fields)
            has = {field["name"] for field in record["fields"]}
            self._gather("context", texts, has)
            for part in ("page", "campaign"):
                if part in has:
                    with self._source.block(f"if {part}:"):
                        self._source.add(f'context["{part}"] = {part}')

        if not self._in_place(schema, shape):
            self._source.value("context", schema)
            self._source.add(_WHOLE_CONTEXT)

    def _rest(self, declared: Sequence[Any], fields: Fields) -> None:
        """What stands behind the page is the browser's and the campaign's: the same in all events of a visit."""
        names = [field["name"] for field in declared if field["name"] in fields]
        locals_ = [name if name in ("page", "campaign", "consent") else f"context_{name}" for name in names]
        if locals_:
            with self._source.rest(locals_):
                self._fields(declared, fields)
        else:
            self._fields(declared, fields)

    def _part(self, part: str, names: tuple[str, ...], schema: Any) -> None:
        def shape(record: Any) -> None:
            self._fields(record["fields"], self._text_fields(part, names))
            self._gather(part, names, {field["name"] for field in record["fields"]})

        self._source.add(f"{part} = {{}}")
        if not self._in_place(schema, shape):
            self._source.value(part, schema)
            self._source.add(f"{part} = part_of({part}, {names!r})")

    def _gather(self, target: str, names: tuple[str, ...], has: set[str]) -> None:
        """Puts the texts that are there into the dict, in Dreamdata's order and not in the schema's."""
        for name in names:
            expression = self._text(target, name, has).removesuffix(" or None")
            if expression != "None":
                with self._source.block(f"if known := {expression}:"):
                    self._source.add(f'{target}["{name}"] = known')

    def _consent(self, schema: Any) -> None:
        self._source.value("consent", schema, lambda read: remembered(_consent_reader(read)))

    def _in_place(self, schema: Any, shape: Callable[[Any], None]) -> bool:
        """Writes out a record, or a record or null; what else may stand there is not for writing out."""
        alternatives = branches(schema, self._names)
        records = [branch for branch in alternatives if is_record(branch)]
        if len(records) != 1 or any(branch != "null" for branch in alternatives if branch is not records[0]):
            return False
        if not isinstance(schema, list):
            shape(records[0])
            return True
        self._source.add("branch = data[at]")
        with self._source.block(f"if branch == {2 * alternatives.index(records[0])}:"):
            self._source.add("at += 1")
            shape(records[0])
        with self._source.block(f"elif branch == {null_branch(schema)}:"):
            self._source.add("at += 1")
        with self._source.block("else:"):
            self._source.add("raise KeyError(branch)")
        return True


def _behind_the_page(context: Any) -> int:
    names = [field["name"] for field in context["fields"]]
    return names.index("page") + 1 if "page" in names else 0


def _consent_reader(read: Read) -> Read:
    def read_consent(data: bytes, at: int) -> Value:
        consent, at = read(data, at)
        return consent_of(consent), at

    return read_consent


def _refuse_end(bytes_left: int) -> None:
    if bytes_left < 0:
        raise EOFError
    raise DecodeError(f"{bytes_left} bytes are left over behind the event: it was written with another schema")
