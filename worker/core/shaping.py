"""An event from a decoded datum: fields by name, whatever they were read from (JSON lines, say).

No bytes and no schema in here. What an event looks like is said here once, field by field; the reader of Avro bytes
(`avro/event_reader.py`) does the same without the dicts in between, and tests hold the two against each other.
"""

from collections.abc import Mapping

from worker.core.events import (
    IDS,
    SNAKE_CASE,
    Cleanup,
    Datum,
    Event,
    consent_of,
    context_of,
    json_object,
    text,
    timestamp_ms,
)


def shaped(datum: Datum, units_per_ms: int, cleanups: Mapping[str, Cleanup]) -> Event:
    """`units_per_ms` is what a number in `timestamp` is divided by (0: it does not say what instant it means);
    `cleanups` what is done to `properties` and `traits` first.
    """
    get = datum.get
    type_ = text(get("type"))
    objects = {}
    malformed = ""
    for name in ("traits", "properties"):
        value = get(name)
        objects[name], is_malformed = json_object(cleanups[name](value) if name in cleanups else value)
        malformed = name if is_malformed else malformed
    context = get("context")
    if type(context) is not dict:
        context = {}
    return Event(
        type_ and type_.lower(),
        text(get("event")),
        text(get("name")),
        *_ids(datum),
        timestamp_ms(get("timestamp"), units_per_ms),
        objects["properties"],
        objects["traits"],
        consent_of(context.get("consent")),
        context_of(context),
        malformed,
    )


def _ids(datum: Datum) -> tuple[str | None, str | None, str | None, str | None]:
    message_id, anonymous_id, user_id, group_id = (text(_first(datum, name, SNAKE_CASE[name])) for name in IDS)
    return message_id, anonymous_id, user_id, group_id


def _first(datum: Datum, camel: str, snake: str) -> object:
    """Both spellings in one event: the first that is not null counts."""
    value = datum.get(camel)
    return datum.get(snake) if value is None else value
