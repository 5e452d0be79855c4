"""A value that comes again and again is read once: what it was is known by its bytes.

The consent of a site's visitors is a nested map that has a dozen forms in all, and the dearest part of most events. No
encoding of a type begins with another one of the same type, so bytes that equal a whole known value are that value,
whatever follows them. What is handed out is shared by many events: nobody may change it.
"""

from typing import Any

from worker.core.avro.building import Step

Value = tuple[Any, int]

# Values differ more than they repeat beyond these, or are too large to be kept: they are read like any other. Together
# they bound what one schema keeps to some 100 KB.
MAX_SIZES = 4
MAX_VALUES = 64
MAX_BYTES = 256

_UNKNOWN = object()


def remembered(read: Step[Value]) -> Step[Value]:
    """The same values as `read`, which may depend on nothing but the bytes it passes."""
    # by size, because a cut of another size is another value: at the end of the bytes it comes out short
    known: list[tuple[int, dict[bytes, Any]]] = []

    def read_remembered(data: bytes, at: int) -> Value:
        for size, values in known:
            value = values.get(data[at : at + size], _UNKNOWN)
            if value is not _UNKNOWN:
                return value, at + size
        value, end = read(data, at)
        if end - at <= MAX_BYTES and end <= len(data):
            _remember(known, data[at:end], value)
        return value, end

    return read_remembered


def _remember(known: list[tuple[int, dict[bytes, Any]]], encoded: bytes, value: Any) -> None:
    values = next((values for size, values in known if size == len(encoded)), None)
    if values is None:
        values = {}
        if len(known) < MAX_SIZES:
            known.append((len(encoded), values))
    if len(values) < MAX_VALUES:
        values[encoded] = value
