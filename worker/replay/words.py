"""What is said of replays, in words and numbers. Prints nothing and asks nobody."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from worker.core.records import TopicPartition
from worker.core.stretches import Stretch
from worker.finish import Standing
from worker.moments import iso
from worker.replay.known import Known
from worker.replay.rehearsing import Rehearsed
from worker.replay.runs import Replay, in_words

EXPIRY = "Kafka forgets an idle group after 7 days (offsets.retention.minutes): a replay that rests longer begins anew."


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns as wide as they have to be: numbers to the right, and so are their headings."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    numeric = [all(_is_number(line[column]) for line in lines[1:]) for column in range(len(header))]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    ]


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace("%", "").isdigit() or text == "-"


def total_of(stretches: Iterable[Stretch]) -> Stretch:
    """All of them as one."""
    total = Stretch(0, 0)
    for stretch in stretches:
        counted = dict(total.counted)
        for name, count in stretch.counted.items():
            counted[name] = counted.get(name, 0) + count
        total = Stretch(
            0,
            total.end_offset + stretch.offsets,
            counted=counted,
            lost=total.lost + stretch.lost,
            unknown=total.unknown + stretch.unknown,
        )
    return total


def counts(counted: Mapping[str, int]) -> list[str]:
    """A line for each outcome, and their sum: delivered first."""
    ordered = sorted(counted.items(), key=lambda item: (item[0] != "delivered", item[0]))
    rows = [(name.replace("_", "-").replace("/", " "), f"{count:,}") for name, count in ordered]
    return _aligned([*rows, ("records", f"{sum(counted.values()):,}")])


def number_of(number: int, one: str, many: str) -> str:
    """With its noun, and the verb where there is one."""
    return f"{number:,} {one if number == 1 else many}"


def _aligned(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max(len(name) for name, _ in rows)
    digits = max(len(number) for _, number in rows)
    return [f"  {name.ljust(width)}  {number.rjust(digits)}" for name, number in rows]


def summary(replay: Replay, own: Mapping[str, int]) -> list[str]:
    """What has become of the whole range, by all processes, and which part of it was this one's."""
    total = total_of(standing.stretch for standing in replay.standings.values())
    records = sum(total.counted.values())
    done = replay.offsets - replay.left
    state = "the range is done" if not replay.left else number_of(replay.left, "offset is left", "offsets are left")
    lines = [f"Replay {replay.name} ({in_words(replay.asked)}): {state}.", *counts(total.counted)]
    lines.append(f"In {done:,} of {replay.offsets:,} offsets; {done - records - total.lost:,} of them hold no record.")
    if total.lost:
        lost = number_of(total.lost, "offset was", "offsets were")
        lines.append(f"{lost} deleted by retention before being read, and not sent.")
    if total.unknown:
        unknown = number_of(total.unknown, "visitor", "visitors")
        lines.append(f"identity-unknown: {unknown} of whom no identify from before the range could be read.")
    if sum(own.values()) != records:
        part = ", ".join(f"{name.replace('_', '-').replace('/', ' ')} {count:,}" for name, count in own.items())
        lines.append(f"This process's part: {part or 'nothing'}.")
    if replay.left:
        lines.append(f"To go on: replay --name {replay.name}")
    return lines


def as_json(replay: Replay, *, members: int | None) -> dict[str, object]:
    """For scripts: `replay list --json`."""
    return {
        "name": replay.name,
        "group": replay.group,
        "asked": replay.asked,
        "members": members,
        "offsets": replay.offsets,
        "left": replay.left,
        "counted": total_of(standing.stretch for standing in replay.standings.values()).counted,
        "partitions": [_partition(tp, standing) for tp, standing in sorted(replay.standings.items())],
    }


def _partition(tp: TopicPartition, standing: Standing) -> dict[str, object]:
    stretch = standing.stretch
    return {
        "topic": tp.topic,
        "partition": tp.partition,
        "first_offset": stretch.first_offset,
        "end_offset": stretch.end_offset,
        "next_offset": standing.next_offset,
        "lost": stretch.lost,
        "unknown": stretch.unknown,
    }


def listed(found: Sequence[Known]) -> list[str]:
    """A table of the replays, and what Kafka makes of idle ones."""
    if not found:
        return ["There is no replay.", EXPIRY]
    rows = []
    for each in found:
        replay = each.replay
        records = sum(total_of(standing.stretch for standing in replay.standings.values()).counted.values())
        done = 100 * (replay.offsets - replay.left) // max(1, replay.offsets)
        state = f"{each.members} at work" if each.members else "done" if not replay.left else "at rest"
        progress = (f"{done}%", f"{records:,}", f"{replay.left:,}")
        rows.append((replay.name, state, *progress, ",".join(replay.topics), in_words(replay.asked)))
    return [*table(("name", "state", "done", "records", "offsets left", "topics", "range"), rows), "", EXPIRY]


def rehearsed_in_words(name: str, partitions: Iterable[Rehearsed]) -> Iterator[str]:
    """What would become of the range, partition by partition and altogether."""
    seen = list(partitions)
    if not seen:
        yield f"Replay {name} is done: nothing of its range is left to be sent. Another range needs another name,"
        yield f"or `replay drop {name}` first."
        return
    rows = [
        (
            str(each.tp),
            f"{each.extent.first_offset:,}",
            f"{each.extent.end_offset:,}",
            f"{sum(each.counted.values()) + each.waiting:,}",
            iso(each.first_ms),
            iso(each.last_ms),
        )
        for each in seen
    ]
    yield from table(("partition", "from", "to (exclusive)", "records", "first record's time", "last record's"), rows)
    yield ""
    yield f"Replay {name} would make of them:"
    yield from counts(total_of(Stretch(0, 0, counted=dict(each.counted)) for each in seen).counted)
    for each in seen:
        if each.waiting:
            yield f"{each.tp}: {each.waiting:,} more would wait ({each.waits_for})."
    yield "Nothing was sent, committed or made."
