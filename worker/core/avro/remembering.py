"""A value that comes again and again is read once: what it was is known by its bytes.

The consent of a site's visitors is a nested map that has a dozen forms in all, and the dearest part of most events. No
encoding of a type begins with another one of the same type, so bytes that equal a whole known value are that value,
whatever follows them. And where an event ends with what a browser says of itself and the campaign that brought it, the
rest of its bytes is the same in all events of a visit. What is handed out is shared by many events: nobody may change
it.
"""

from typing import Any

from worker.core.avro.building import Step

Value = tuple[Any, int]

# Values differ more than they repeat beyond these, or are too large to be kept: they are read like any other. Together
# they bound what one schema keeps to some 100 KB.
MAX_SIZES = 4
MAX_VALUES = 64
MAX_BYTES = 256

# Some 300 KB a schema for browsers as they are: the visitors of the last seconds at thousands of events a second.
# Larger rests are read like any other bytes.
MAX_RESTS = 1_000
MAX_REST_BYTES = 1_024

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


class Rests:
    """What the last bytes of events were read as, by these bytes. Safe on any thread.

    Visitors come and go: where there are too many rests it begins anew, rather than keep account of who was here last.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[Any, ...]] = {}
        self.get = self._known.get

    def keep(self, rest: bytes, values: tuple[Any, ...]) -> None:
        # nothing is also what is left of bytes that end too early
        if not 0 < len(rest) <= MAX_REST_BYTES:
            return
        if len(self._known) >= MAX_RESTS:
            self._known.clear()
        self._known[rest] = values
