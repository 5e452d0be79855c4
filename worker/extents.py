"""Which offsets somebody means who names a range: by time or by offset, of one topic or several. Shared by the commands
that read ranges; asks the cluster, reads no record, changes nothing.

All that is wrong with a range is one SettingsError, one problem a line, each behind the option's name.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from worker.core.records import TopicPartition
from worker.errors import SettingsError
from worker.moments import iso, moment_ms

BEGINNING = "beginning"
# Enough to see what is wrong.
MAX_NAMED = 4


@dataclass(frozen=True, slots=True)
class RangeOptions:
    """As they stand on the command line. Offsets are `PARTITION:OFFSET`, or an offset for all other partitions."""

    topic: str | None = None
    from_time: str | None = None
    to_time: str | None = None
    from_offsets: tuple[str, ...] = ()
    to_offsets: tuple[str, ...] = ()

    @property
    def given(self) -> bool:
        """Whether they name any range at all."""
        return self != RangeOptions()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What they mean, before anybody was asked. `from_ms` 0 is the beginning; None: by offset. `to_ms` None: by offset,
    or the end as it is found. Offsets are by partition, under None for all others; where there are only some, the other
    partitions are left out.
    """

    from_ms: int | None
    to_ms: int | None
    from_offsets: Mapping[int | None, int]
    to_offsets: Mapping[int | None, int]

    def takes(self, partition: int) -> bool:
        return not (_left_out(self.from_offsets, partition) or _left_out(self.to_offsets, partition))


def _left_out(offsets: Mapping[int | None, int], partition: int) -> bool:
    return bool(offsets) and partition not in offsets and None not in offsets


@dataclass(frozen=True, slots=True)
class Extent:
    """`[first_offset, end_offset)`. Gaps and transaction markers count as offsets, not as records."""

    first_offset: int
    end_offset: int

    @property
    def offsets(self) -> int:
        return self.end_offset - self.first_offset


class OffsetFinder(Protocol):
    """The cluster, as far as a range needs it. Blocking; raises KafkaUnavailableError."""

    def partitions(self) -> dict[str, int]: ...

    def starts(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]: ...

    def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]: ...

    def at_time(self, partitions: Iterable[TopicPartition], epoch_ms: int) -> dict[TopicPartition, tuple[int, int]]: ...


def wanted_of(options: RangeOptions, now_ms: int) -> Wanted:
    """Reads the options. Raises SettingsError."""
    problems: list[str] = []
    if options.from_time is None and not options.from_offsets:
        problems.append(f"--from or --from-offset: say where to begin; `--from {BEGINNING}` is all that is kept")
    if options.from_time is not None and options.from_offsets:
        problems.append("--from and --from-offset: only one of them can say where to begin")
    if options.to_time is not None and options.to_offsets:
        problems.append("--to and --to-offset: only one of them can say where to end")
    from_ms = 0 if options.from_time == BEGINNING else _moment("--from", options.from_time, problems)
    to_ms = _moment("--to", options.to_time, problems)
    if to_ms is not None and to_ms > now_ms:
        problems.append(
            f"--to: {options.to_time} is still to come; without it, the range ends where the topic does now"
        )
    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        problems.append(f"--from, --to: {options.from_time} is not before {options.to_time}")
    from_offsets = _offsets("--from-offset", options.from_offsets, problems)
    to_offsets = _offsets("--to-offset", options.to_offsets, problems)
    problems += _half_named("--from-offset", from_offsets, "--to-offset", to_offsets)
    problems += _half_named("--to-offset", to_offsets, "--from-offset", from_offsets)
    if problems:
        raise SettingsError(problems)
    return Wanted(from_ms, to_ms, from_offsets, to_offsets)


def _moment(option: str, text: str | None, problems: list[str]) -> int | None:
    if text is None:
        return None
    try:
        return moment_ms(text)
    except ValueError as error:
        problems.append(f"{option}: {error}")
        return None


def _offsets(option: str, texts: Iterable[str], problems: list[str]) -> dict[int | None, int]:
    found: dict[int | None, int] = {}
    for text in texts:
        partition, colon, offset = text.rpartition(":")
        if not offset.isdecimal() or (colon and not partition.isdecimal()):
            problems.append(f"{option}: {text!r} is no offset; allowed: OFFSET, or PARTITION:OFFSET")
            continue
        key = int(partition) if colon else None
        if key in found:
            problems.append(f"{option}: {'partition ' + partition if colon else 'all partitions'} twice")
        found[key] = int(offset)
    return found


def _half_named(
    option: str, offsets: Mapping[int | None, int], other: str, others: Mapping[int | None, int]
) -> Iterator[str]:
    for partition in offsets:
        if partition is not None and _left_out(others, partition):
            yield (
                f"{option}: partition {partition} is named here and left out by {other}, which names others; "
                f"name it in both or in neither"
            )


def find_extents(cluster: OffsetFinder, topics: Collection[str], wanted: Wanted) -> dict[TopicPartition, Extent]:
    """What is meant of each partition, some perhaps nothing. Raises SettingsError, also where all of it is nothing, or
    KafkaUnavailableError.

    The range ends at the last stable offset at most: a transaction still open is not part of it.
    """
    existing = cluster.partitions()
    problems = [
        f"--topic: there is no topic {topic} (or this user may not see it)" for topic in topics if topic not in existing
    ]
    if len(topics) > 1 and (wanted.from_offsets or wanted.to_offsets):
        problems.append(f"--from-offset, --to-offset: offsets are those of one topic; --topic, of {', '.join(topics)}?")
    if problems:
        raise SettingsError(problems)
    partitions = [TopicPartition(topic, number) for topic in topics for number in range(existing[topic])]
    problems = list(_strange_partitions(partitions, wanted))
    extents = _by_partition(cluster, partitions, wanted, problems)
    if not problems and not any(extent.offsets for extent in extents.values()):
        problems.append(f"the range is empty: nothing lies in it of what is kept; {_kept(cluster, partitions)}")
    if problems:
        raise SettingsError(problems)
    return extents


def _kept(cluster: OffsetFinder, partitions: Collection[TopicPartition]) -> str:
    starts, ends = cluster.starts(partitions), cluster.ends(partitions)
    return ", ".join(f"{tp} holds [{starts.get(tp)}, {ends.get(tp)})" for tp in list(partitions)[:MAX_NAMED])


def _strange_partitions(partitions: Collection[TopicPartition], wanted: Wanted) -> Iterator[str]:
    numbers = {tp.partition for tp in partitions}
    for option, offsets in (("--from-offset", wanted.from_offsets), ("--to-offset", wanted.to_offsets)):
        for number in offsets.keys() - numbers - {None}:
            yield f"{option}: there is no partition {number}, only {min(numbers)} to {max(numbers)}"


def _by_partition(
    cluster: OffsetFinder, partitions: Collection[TopicPartition], wanted: Wanted, problems: list[str]
) -> dict[TopicPartition, Extent]:
    starts, ends = cluster.starts(partitions), cluster.ends(partitions)
    begins = {} if wanted.from_ms is None else cluster.at_time(partitions, wanted.from_ms)
    stops = {} if wanted.to_ms is None else cluster.at_time(partitions, wanted.to_ms)
    nowhere = (2**63, -1)  # no record is as young: as far as the end
    extents: dict[TopicPartition, Extent] = {}
    for tp in partitions:
        if tp not in starts or tp not in ends:
            problems.append(f"{tp}: its offsets cannot be had just now")
            continue
        log_start, end = starts[tp], ends[tp]
        if not wanted.takes(tp.partition):
            extents[tp] = Extent(end, end)
            continue
        by_time = min(end, stops.get(tp, nowhere)[0])
        stop = wanted.to_offsets.get(tp.partition, wanted.to_offsets.get(None, by_time))
        if wanted.from_ms is None:
            begin = wanted.from_offsets.get(tp.partition, wanted.from_offsets.get(None, log_start))
        else:
            begin, at_ms = begins.get(tp, nowhere)
            begin = min(begin, end)
            if begin == log_start > 0 and 0 < wanted.from_ms < at_ms:
                problems.append(
                    f"--from: {tp} is kept from offset {log_start} ({iso(at_ms)}) on, and {iso(wanted.from_ms)} is "
                    f"before that; begin later, or `--from {BEGINNING}`"
                )
        problems += _misplaced(tp, begin, stop, log_start, end)
        extents[tp] = Extent(begin, max(begin, min(stop, end)))
    return extents


def _misplaced(tp: TopicPartition, begin: int, stop: int, log_start: int, end: int) -> Iterator[str]:
    if begin < log_start:
        yield f"--from-offset: {tp} is kept from offset {log_start} on, and {begin} is deleted already"
    if begin > end:
        yield f"--from-offset: {begin} is beyond the end of {tp}, whose next offset is {end}"
    if stop > end:
        yield f"--to-offset: {stop} is beyond the end of {tp}, whose next offset is {end}"
    if stop < begin:
        yield f"{tp}: the range ends at offset {stop}, before it begins at {begin}"
