"""What Kafka hands over, as values.

No Kafka client types in here: `kafka.py` translates, once, so that the core can be fed from a file or a test just as
well.
"""

from typing import NamedTuple

import msgspec

Headers = tuple[tuple[str, bytes | None], ...]


class TopicPartition(NamedTuple):
    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]"


class Record(msgspec.Struct, frozen=True, gc=False):
    """One Kafka record, its bytes untouched.

    `timestamp_ms` is the record's own (CreateTime or LogAppendTime), -1 where the broker has none. A msgspec struct
    rather than a dataclass: one is made per record, and a frozen dataclass takes ten times as long to make.
    """

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @property
    def next_offset(self) -> int:
        """What is committed once this record and all before it are settled: the offset to read next (the only `+ 1` in
        the program).
        """
        return self.offset + 1

    @property
    def size(self) -> int:
        """Bytes of key, value and headers: what it weighs in memory and in a dead letter."""
        size = len(self.key or b"") + len(self.value or b"")
        for name, value in self.headers:
            size += len(name) + len(value or b"")
        return size
