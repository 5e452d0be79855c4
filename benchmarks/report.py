"""What a set of runs comes to: medians, ratios, and whether everybody has done the same work. Pure."""

from collections.abc import Sequence
from statistics import median

from rich.table import Table

from benchmarks.contenders import Run

LIMIT_BYTES = 500_000


def differences(runs: Sequence[Run], deliverable: int) -> list[str]:
    """Why the runs cannot be compared; empty where all have delivered the same events, each exactly once."""
    problems = [
        f"{run.contender} delivered {run.taken.events:,} events with {run.taken.ids:,} ids, not {deliverable:,}"
        for run in runs
        if not run.taken.events == run.taken.ids == deliverable
    ]
    if len({run.taken.digest for run in runs}) > 1:
        problems.append("not all of them delivered the same ids")
    problems += [
        f"{run.contender} sent a body of {max(run.taken.sizes):,} bytes"
        for run in runs
        if max(run.taken.sizes) >= LIMIT_BYTES
    ]
    return problems


def cpu_microseconds(runs: Sequence[Run], contender: str, records: int) -> float:
    """The median over its runs of all its CPU by all records, filtered ones included."""
    return median(run.cpu_seconds for run in runs if run.contender == contender) / records * 1e6


def per_second(run: Run, records: int) -> float:
    """Records by the time from the first request to the last answer: the start is in the CPU figure alone."""
    return records / (run.taken.last_at - run.taken.first_at)


def fill(run: Run, partitions: int) -> float:
    """The mean body by the limit, without the last one of each partition: what is left at the end is no backlog."""
    sizes = run.taken.sizes[:-partitions]
    return sum(sizes) / len(sizes) / LIMIT_BYTES


def table(runs: Sequence[Run], records: int, partitions: int) -> Table:
    names = list(dict.fromkeys(run.contender for run in runs))
    own = cpu_microseconds(runs, names[0], records)
    result = Table("", "CPU an event", "ratio", "events/s", "peak RSS", "body fill", "start to end")
    for name in names:
        mine = [run for run in runs if run.contender == name]
        cpu = cpu_microseconds(runs, name, records)
        result.add_row(
            name,
            f"{cpu:.1f} µs",
            f"{own / cpu:.2f}",
            f"{median(per_second(run, records) for run in mine):,.0f}",
            f"{median(run.peak_rss_bytes for run in mine) / 1e6:.0f} MB",
            f"{median(fill(run, partitions) for run in mine):.1%}",
            f"{median(run.wall_seconds for run in mine):.1f} s",
        )
    return result
