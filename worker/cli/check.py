"""The command `check`: options in, lines and an exit code out. What it looks at is in `worker.check`."""

import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:  # rich comes late, so that --help is quick
    from rich.console import RenderableType

Write = Callable[["RenderableType"], None]

# No line of a pipe is cut or wrapped.
_PIPE_COLUMNS = 10_000


@click.command(
    epilog="""\b
Examples:
  CONSENT_CATEGORIES=analytics,marketing KAFKA_BROKERS=kafka:9092 dreamdata-worker check
  dreamdata-worker check --config worker.toml --show
  EVENT_MAPPING='{"Demo Booked": "demo_booked", "Logged In": false}' CONSENT_CATEGORIES=analytics \\
    dreamdata-worker check --offline

\b
Exit code 3: there is a finding; 2: the settings are wrong.
"""
)
@click.option(
    "--config", type=click.Path(path_type=Path), help="A TOML file of settings; the environment wins over it."
)
@click.option("--show", is_flag=True, help="Print every effective setting and where it came from; secrets as ***.")
@click.option("--offline", is_flag=True, help="Ask nothing over the network: settings, key, SCHEMA_DIR, mapping.")
@click.option("--json", "as_json", is_flag=True, help="Print it all as one JSON object.")
def check(*, config: Path | None, show: bool, offline: bool, as_json: bool) -> None:
    """Look at everything a worker needs: settings, key, brokers, topics, group, transactions, registry, schemas.

    Sends nothing, commits nothing and makes no topic. Every finding says what is wrong and what to do. Below stands
    what VARIANT and EVENT_MAPPING make of each event.
    """
    from worker.assembly import mapping_of
    from worker.check import report
    from worker.check.areas import examine
    from worker.check.mapping import rows
    from worker.check.results import exit_code, summary
    from worker.settings import load

    settings = load(os.environ, config, api_key_required=False)
    effective = settings.effective() if show else None
    table = rows(settings, mapping_of(settings))
    if as_json:
        results = list(examine(settings, offline=offline))
        click.echo(json.dumps(report.as_json(results, table, effective), indent=2, ensure_ascii=False))
    else:
        results = []
        with _output() as write:
            if effective is not None:
                write(report.settings_table(effective))
                write("")
            for result in examine(settings, offline=offline):
                results.append(result)
                write(report.line(result))
            write("")
            write(report.mapping_table(table))
            write("")
            write(summary(results))
    click.get_current_context().exit(exit_code(results))


@contextmanager
def _output() -> Iterator[Write]:
    """Each line at once: wrapped and in colours on a terminal, whole and plain elsewhere."""
    from rich.console import Console

    if sys.stdout.isatty():
        console = Console(highlight=False, markup=False)
        with console.status("asking ..."):
            yield console.print
        return

    def plain(what: "RenderableType") -> None:
        page = io.StringIO()
        Console(file=page, width=_PIPE_COLUMNS, highlight=False, markup=False, no_color=True).print(what)
        click.echo("\n".join(line.rstrip() for line in page.getvalue().splitlines()))

    yield plain
