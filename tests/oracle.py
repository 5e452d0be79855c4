"""What fastavro reads, for tests of what the worker reads faster: values, and events made of them field by field.

The pure-Python twin of fastavro's reader is asked, because the compiled one takes a negative length for "all that is
left" and ends the process with a segmentation fault where bytes nest deeply enough.
"""

from collections.abc import Callable
from io import BytesIO
from typing import Any, cast

import fastavro
import fastavro._read_py as pure_python_fastavro

from worker.core.events import Event
from worker.core.plans import cleanups
from worker.core.schema_facts import units_per_millisecond, without_timestamp_type
from worker.core.shaping import shaped


def value_of(parsed: Any, body: bytes) -> tuple[Any, int]:
    """The value and the index behind it."""
    stream = BytesIO(body)
    value = pure_python_fastavro.schemaless_reader(stream, parsed, None)
    return value, stream.tell()


def event_of(schema: dict[str, Any], body: bytes) -> Event:
    return events_of(schema)(body)


def events_of(schema: dict[str, Any]) -> Callable[[bytes], Event]:
    """Reads events of this schema, one after the other."""
    names: dict[str, Any] = {}
    parsed: Any = fastavro.parse_schema(cast(Any, without_timestamp_type(schema)), names)
    units_per_ms, clean = units_per_millisecond(schema), cleanups(parsed, names)

    def read(body: bytes) -> Event:
        datum, end = value_of(parsed, body)
        assert end == len(body)
        return shaped(datum, units_per_ms, clean)

    return read
