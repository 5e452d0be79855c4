"""From a schema to one function for each of its types: whom to ask for which type, names resolved, recursion bounded.

What the functions do is the makers' business (`reading.py`, `skipping.py`): they are a table from Avro's words to
functions that make functions. No bytes are looked at in here.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Generic, TypeVar

from worker.core.events import DecodeError
from worker.core.schema_facts import Names, is_record, is_text

Result = TypeVar("Result")
Step = Callable[[bytes, int], Result]
Build = Callable[[Any], Step[Result]]
Makers = Mapping[str, Callable[[Any, Build[Result]], Step[Result]]]

# How often a type may contain itself in one event. Python's own limit would do, but where it strikes depends on who is
# calling: the same bytes would be an event here and none there.
MAX_LEVELS = 100


def by_branch(union: Sequence[Any], build: Build[Result]) -> Mapping[int, Step[Result]]:
    """A union's functions by the byte that announces the branch: its number in zig-zag, twice the number.

    No function for a byte is a KeyError, which ends as DecodeError like all others. From the 64th branch on the number
    takes two bytes.
    """
    return {2 * number: build(branch) for number, branch in enumerate(union)}


def text_branch(schema: Any) -> int:
    """The byte that announces a text in a union; -1, which no byte is, where there is none."""
    alternatives = schema if isinstance(schema, list) else []
    return next((2 * number for number, branch in enumerate(alternatives) if is_text(branch)), -1)


def null_branch(schema: Any) -> int:
    """The byte that announces null, -1 where there is none."""
    return 2 * schema.index("null") if isinstance(schema, list) and "null" in schema else -1


def always(step: Step[Result]) -> Callable[[Any, Build[Result]], Step[Result]]:
    """A maker for types that are all alike."""
    return lambda _schema, _build: step


class Builder(Generic[Result]):
    """Makes the functions of one schema. `recursive` are the names at which its types go round in circles
    (`Survey.recursive`).
    """

    def __init__(self, makers: Makers[Result], names: Names, recursive: Collection[str]) -> None:
        self._makers = makers
        self._names = names
        self._recursive = recursive
        self._records: dict[tuple[str, int], Step[Result]] = {}
        self._others: dict[tuple[str, int], Step[Result]] = {}

    def of(self, schema: Any, level: int = 0) -> Step[Result]:
        """The function for this schema, inside `level` rounds of a recursive type."""
        if isinstance(schema, str):
            schema = self._names.get(schema, schema)
        if is_record(schema):
            return self._later(schema, level) if schema["name"] in self._recursive else self._record(schema, level)
        # by how it is written: free objects repeat a union of all their values at every depth, and with functions of
        # their own the shipped schema's five depths would take 8 MB
        key = repr(schema), level
        if key not in self._others:
            self._others[key] = self._other(schema, level)
        return self._others[key]

    def _other(self, schema: Any, level: int) -> Step[Result]:
        if isinstance(schema, list):
            return self._makers["union"](schema, lambda inner: self.of(inner, level))
        kind = schema if isinstance(schema, str) else schema["type"]
        make = self._makers.get(kind)
        # {"type": "Name"} is one more way to say "Name"
        return make(schema, lambda inner: self.of(inner, level)) if make else self.of(kind, level)

    def _record(self, schema: Any, level: int) -> Step[Result]:
        # once and not per use: types that use each other twice, twenty of them, would make a million functions
        key = schema["name"], level
        if key not in self._records:
            self._records[key] = self._makers["record"](schema, lambda inner: self.of(inner, level))
        return self._records[key]

    def _later(self, schema: Any, level: int) -> Step[Result]:
        """Makes the next round when the first event goes that deep."""

        def step(data: bytes, at: int) -> Result:
            if level == MAX_LEVELS:
                raise DecodeError(f"the bytes nest a type in itself more than {MAX_LEVELS} times")
            return self._record(schema, level + 1)(data, at)

        return step
