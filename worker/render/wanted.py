"""What somebody wants to see who names a range, as it stands on the command line: one partition's, or several. Reads
nothing.

All that cannot be meant is one SettingsError, each problem behind the option's name.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from worker.errors import SettingsError
from worker.extents import RangeOptions


@dataclass(frozen=True, slots=True)
class Selection:
    """Of one partition, or a file. None: the usual topic, the only partition, and so that `count` records are left to
    read.
    """

    topic: str | None
    partition: int | None
    from_offset: int | None
    count: int | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """`partitions` empty: all that the range has something of. `count` bounds what is shown of each."""

    range: RangeOptions
    partitions: tuple[int, ...] = ()
    count: int | None = None

    @property
    def is_wide(self) -> bool:
        """Whether it takes looking up: by time, with an end, or of several partitions."""
        offsets = self.range.from_offsets
        by_partition = len(offsets) > 1 or any(":" in text for text in offsets)
        bounded = self.range.from_time or self.range.to_time or self.range.to_offsets
        return bool(bounded or by_partition or len(self.partitions) > 1)

    @property
    def has_end(self) -> bool:
        """Whether somebody has said where it ends: then all of it is meant."""
        return bool(self.range.to_time or self.range.to_offsets)

    def narrow(self) -> Selection:
        """Of one that is not wide."""
        texts = self.range.from_offsets
        if texts and not texts[0].isdecimal():
            raise SettingsError([f"--from-offset: {texts[0]!r} is no offset; allowed: OFFSET, or PARTITION:OFFSET"])
        return Selection(
            self.range.topic,
            self.partitions[0] if self.partitions else None,
            int(texts[0]) if texts else None,
            self.count,
        )

    def of_file(self) -> Selection:
        """A file has one partition, and neither times of Kafka's nor an end but its own."""
        if self.is_wide:
            raise SettingsError(["--from, --to, --to-offset, PARTITION:OFFSET: a FILE has lines or records, from 0 on"])
        return self.narrow()

    def spelled_out(self) -> RangeOptions:
        """The range with offsets of the named partitions alone: no other one is asked whether it has them."""
        if not self.partitions:
            return self.range
        return replace(
            self.range,
            from_offsets=self._of_named(self.range.from_offsets),
            to_offsets=self._of_named(self.range.to_offsets),
        )

    def _of_named(self, texts: Sequence[str]) -> tuple[str, ...]:
        """An offset that names its partition wins over one for all."""
        said = {text.partition(":")[0] for text in texts if ":" in text}
        others = [number for number in self.partitions if str(number) not in said]
        named: list[str] = []
        for text in texts:
            named += [text] if ":" in text else [f"{partition}:{text}" for partition in others]
        return tuple(named)
