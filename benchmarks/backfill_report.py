"""What the paces of a backfill come to: medians, each against its aim, and against what was worked out. Pure."""

from collections.abc import Mapping, Sequence
from statistics import median

from rich.table import Table

from benchmarks.backfill import AIMS, AT_ONCE, Case, Pace


def middle(paces: Sequence[Pace]) -> Pace:
    """The median of each figure."""
    return Pace(
        events_per_second=median(pace.events_per_second for pace in paces),
        events_per_body=median(pace.events_per_body for pace in paces),
        cpu_share=median(pace.cpu_share for pace in paces),
        core_share=median(pace.core_share for pace in paces),
    )


def against(case: Case, taken: Mapping[Case, Sequence[Pace]]) -> float:
    """The median of the ratios of rounds: what is compared was measured one after the other, under the same load."""
    reference, _ = AIMS[case]
    pairs = zip(taken[case], taken[reference], strict=True)
    return median(mine.events_per_second / other.events_per_second for mine, other in pairs)


def backfill_table(taken: Mapping[Case, Sequence[Pace]]) -> Table:
    table = Table("API, partitions", "", "events/s", "worked out", "ratio", "aim", "CPU", "of a free one")
    ceiling = middle(taken[AT_ONCE]).events_per_second
    for case, paces in taken.items():
        found = middle(paces)
        ratio, aim = (f"{against(case, taken):.2f}", f"at least {AIMS[case][1]:g}") if case in AIMS else ("", "")
        table.add_row(
            f"{case.api_ms} ms, {case.partitions}",
            case.name,
            f"{found.events_per_second:,.0f}",
            f"{case.set_up(found.events_per_body).events_per_second(ceiling):,.0f}",
            ratio,
            aim,
            f"{found.cpu_share:.0%}",
            f"{found.core_share:.0%}",
        )
    return table
