"""What one partition's identity log says of one visitor, entry by entry. No client; the core decides what counts."""

from dataclasses import dataclass, field

import msgspec

from worker.core.identity import State
from worker.core.records import Record, TopicPartition
from worker.core.restoring import Restoration
from worker.identity_entries import EntryError, entry_of

USER_PREFIX = "u:"


@dataclass(slots=True)
class Trace:
    """Takes the log's records in order; knows then what a worker that starts to read `tp` at `start` would know.

    `entries` counts what the log holds of the visitor, superseded ones included; `source_offset` is that of the
    `identify` that is known. `alike` are other visitors who are known by the userId that is asked for.
    """

    tp: TopicPartition
    visitor: str
    start: int
    topic_id: str
    entries: int = 0
    source_offset: int | None = None
    alike: set[str] = field(default_factory=set)
    _state: bytes | None = None
    _restoration: Restoration = field(init=False)

    def __post_init__(self) -> None:
        self._restoration = Restoration(self.start, self.topic_id)

    def take(self, record: Record) -> None:
        """An entry that cannot be read is none: a worker skips it too."""
        if record.key == self.visitor.encode():
            self._take_own(record)
        elif self.visitor.startswith(USER_PREFIX):
            self._take_other(record)

    def _take_own(self, record: Record) -> None:
        self.entries += 1
        try:
            entry = entry_of(record.key, record.value, record.headers)
        except EntryError:
            return
        self._restoration.take(entry)
        state = self._restoration.known.states.get(self.visitor)
        if state is None:
            self.source_offset = None
        elif entry.state is not None and state is entry.state:
            self.source_offset = entry.source_offset
        self._state = state

    def _take_other(self, record: Record) -> None:
        user_id = self.visitor.removeprefix(USER_PREFIX)
        try:
            other = (record.key or b"").decode()
            state = msgspec.json.decode(record.value, type=State) if record.value else None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return
        if state is not None and state.user_id == user_id:
            self.alike.add(other)
        else:
            self.alike.discard(other)

    @property
    def state(self) -> State | None:
        return None if self._state is None else msgspec.json.decode(self._state, type=State)

    @property
    def forgotten_until(self) -> int:
        """The source offset below which an operator had the visitor forgotten; 0 where nobody has."""
        return self._restoration.known.forgotten_until.get(self.visitor, 0)
