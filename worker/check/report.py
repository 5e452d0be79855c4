"""What a check prints: lines, tables, or JSON. Knows nothing of how anything was found."""

from collections.abc import Iterable, Mapping, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from worker.check.mapping import Row
from worker.check.results import Result, Verdict

_STYLES: Mapping[Verdict, str] = {
    Verdict.OK: "green",
    Verdict.WARNING: "yellow",
    Verdict.FINDING: "bold red",
    Verdict.SKIPPED: "dim",
}
_VERDICT_WIDTH, _AREA_WIDTH = 7, 12


def line(result: Result) -> RenderableType:
    """One result; what to do about it and the details stand below."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=_VERDICT_WIDTH, no_wrap=True)
    grid.add_column(width=_AREA_WIDTH, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(result.verdict.value, _STYLES[result.verdict]), Text(result.area), Text(result.what))
    if result.remedy:
        grid.add_row("", "", Text(f"-> {result.remedy}"))
    for detail in result.details:
        grid.add_row("", "", Text(detail, "dim"))
    return grid


def settings_table(effective: Iterable[tuple[str, str, str]]) -> RenderableType:
    return _table(("setting", "value", "from"), effective)


def mapping_table(rows: Iterable[Row]) -> RenderableType:
    return _table(("Signal event", "at Dreamdata", "because of"), rows)


def _table(headings: Sequence[str], rows: Iterable[Iterable[str]]) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def as_json(
    results: Iterable[Result], rows: Iterable[Row], effective: Iterable[tuple[str, str, str]] | None
) -> dict[str, object]:
    """For scripts; `effective` only where it was asked for."""
    report: dict[str, object] = {
        "results": [
            {
                "area": result.area,
                "verdict": result.verdict.value,
                "what": result.what,
                "remedy": result.remedy,
                "details": list(result.details),
            }
            for result in results
        ],
        "mapping": [row._asdict() for row in rows],
    }
    if effective is not None:
        report["settings"] = {name: {"value": value, "from": origin} for name, value, origin in effective}
    return report
