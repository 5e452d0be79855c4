"""The source of one function that walks the bytes of a record: texts read in place, everything else by calls.

No word of a schema ever becomes part of it. It is made of the templates below, of numbers, and of the names that the
caller gives (from tables of its own) or that `bind` makes up. Nothing in here knows what an event is.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from textwrap import indent
from typing import Any, cast

from worker.core.avro.building import null_branch, text_branch
from worker.core.avro.reading import Read, reader
from worker.core.avro.remembering import Rests
from worker.core.avro.skipping import skipper
from worker.core.avro.wire import length
from worker.core.schema_facts import Names, is_text

# where the branch is neither, the function for the whole union is asked: it may have more of them
_OPTIONAL_TEXT = """\
branch = data[at]
if branch == {text}:
    size = data[at + 1]
    if size & 129:
        size, start = length(data, at + 1)
        at = start + size
    else:
        start = at + 2
        at = start + (size >> 1)
    {local} = data[start:at].decode()
elif branch == {null}:
    {local} = None
    at += 1
else:
    {local}, at = {read}(data, at)
"""
_SKIP_OPTIONAL_TEXT = """\
branch = data[at]
if branch == {text}:
    size = data[at + 1]
    if size & 129:
        size, at = length(data, at + 1)
        at += size
    else:
        at += 2 + (size >> 1)
elif branch == {null}:
    at += 1
else:
    at = {skip}(data, at)
"""
_TEXT = """\
size = data[at]
if size & 129:
    size, start = length(data, at)
    at = start + size
else:
    start = at + 1
    at = start + (size >> 1)
{local} = data[start:at].decode()
"""
_OPTIONAL = """\
branch = data[at]
if branch == {null}:
    {local} = None
    at += 1
elif branch == {usual}:
    {local}, at = {read_usual}(data, at + 1)
else:
    {local}, at = {read}(data, at)
"""
_SKIP_OPTIONAL = """\
branch = data[at]
if branch == {null}:
    at += 1
elif branch == {usual}:
    at = {skip_usual}(data, at + 1)
else:
    at = {skip}(data, at)
"""
# one that does not end with the bytes is for the caller to refuse
_KNOWN_REST = """\
rest = data[at:]
known = {rests}.get(rest)
if known is not None:
    {values}= known
    at = len(data)
"""
_NEW_REST = """\
if at == len(data):
    {rests}.keep(rest, ({values}))
"""


def _as_it_is(read: Read) -> Read:
    return read


class Source:
    """The lines of `def read(data, at)`, in which `data` are the bytes and `at` is the index reached. Besides these,
    `branch`, `size`, `start`, `rest` and `known` are its own; the names of all other locals are the caller's.
    """

    def __init__(self, names: Names, recursive: set[str], bound: Mapping[str, object]) -> None:
        self._names = names
        self._readers = reader(names, recursive)
        self._skippers = skipper(names, recursive)
        self._bound: dict[str, object] = {"length": length, **bound}
        self._lines: list[str] = ["def read(data, at):\n"]
        self._depth = 1

    def __str__(self) -> str:
        return "".join(self._lines)

    def compiled(self) -> Callable[[bytes, int], Any]:
        exec(compile(str(self), "<reader of one writer schema>", "exec"), self._bound)  # noqa: S102  # holds no word of the schema
        return cast(Callable[[bytes, int], Any], self._bound["read"])

    def add(self, lines: str, **parts: object) -> None:
        """Lines as they are, or a template with its parts."""
        text = lines.format(**parts) if parts else lines
        self._lines.append(indent(text.rstrip("\n") + "\n", "    " * self._depth))

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        self.add(head)
        self._depth += 1
        yield
        self._depth -= 1

    def bind(self, thing: object) -> str:
        """A name for it in the source."""
        name = f"bound_{len(self._bound)}"
        self._bound[name] = thing
        return name

    def text(self, local: str, schema: Any) -> None:
        """Into `local` the value of this schema, as any other; but texts are read in place."""
        null, text = null_branch(schema), text_branch(schema)
        if text >= 0 and null >= 0:
            self.add(_OPTIONAL_TEXT, local=local, null=null, text=text, read=self.bind(self._readers.of(schema)))
        elif is_text(schema):
            self.add(_TEXT, local=local)
        else:
            self.value(local, schema)

    def value(self, local: str, schema: Any, made: Callable[[Read], Read] = _as_it_is) -> None:
        """Into `local` the value of this schema, or what `made` makes of its reader; null stays None."""
        null = null_branch(schema)
        read = self.bind(made(self._readers.of(schema)))
        if null < 0:
            self.add(f"{local}, at = {read}(data, at)")
            return
        usual = _usual_branch(schema)
        read_usual = self.bind(made(self._readers.of(schema[usual])))
        self.add(_OPTIONAL, local=local, null=null, usual=2 * usual, read_usual=read_usual, read=read)

    @contextmanager
    def rest(self, locals_: Sequence[str]) -> Iterator[None]:
        """Around lines that read the bytes to their end, into these locals: they run only for a rest that is new."""
        rests = self.bind(Rests())
        values = "".join(f"{local}, " for local in locals_)
        self.add(_KNOWN_REST, rests=rests, values=values)
        with self.block("else:"):
            yield
            self.add(_NEW_REST, rests=rests, values=values)

    def skip(self, schema: Any) -> None:
        null, text = null_branch(schema), text_branch(schema)
        skip = self.bind(self._skippers.of(schema))
        if null < 0:
            self.add(f"at = {skip}(data, at)")
        elif text >= 0:
            self.add(_SKIP_OPTIONAL_TEXT, null=null, text=text, skip=skip)
        else:
            usual = _usual_branch(schema)
            skip_usual = self.bind(self._skippers.of(schema[usual]))
            self.add(_SKIP_OPTIONAL, null=null, usual=2 * usual, skip_usual=skip_usual, skip=skip)


def _usual_branch(union: list[Any]) -> int:
    """The first that is not null: with null in front it is what optional values are made of."""
    return next((number for number, branch in enumerate(union) if branch != "null"), 0)
