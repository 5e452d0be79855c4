"""The command `demo`: options in, exit code out. What it shows is in `worker.demo`."""

import os
import signal
import sys
import tempfile
from pathlib import Path

import click

from worker.errors import WorkerError

_EVENTS = 3_000
_NOT_AS_EXPECTED = 3


@click.command()
@click.option("--live", is_flag=True, help="Keep traffic flowing until Ctrl-C, with the addresses to look at.")
@click.option(
    "--rate", default=20.0, show_default=True, type=click.FloatRange(0.1, 2_000), help="Events a second, live."
)
@click.option(
    "--events", default=_EVENTS, show_default=True, type=click.IntRange(20, 200_000), help="How many records."
)
@click.option("--seed", default=1, show_default=True, help="Another seed, another day on the site.")
@click.option("--keep", is_flag=True, help="Leave Kafka's data and the logs behind, and say where.")
def demo(*, live: bool, rate: float, events: int, seed: int, keep: bool) -> None:
    """Show the whole job on this machine: a real Kafka, the sandbox as Dreamdata, a worker, a made-up site's events.

    Needs nothing but Python. Kafka is fetched once (44 MB). The worker gets settings of the demo's own, none of yours.

    \b
    Examples:
      dreamdata-worker demo
      dreamdata-worker demo --live --rate 100

    Exit code 3: something did not add up.
    """
    # Ended like Ctrl-C, so that nothing is left behind: a supervisor, or `kill`, sends this one.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = _show(live=live, rate=rate, events=events, seed=seed, keep=keep)
    except (WorkerError, TimeoutError) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        click.echo("stopped")
        code = 0
    click.get_current_context().exit(code)


def _show(*, live: bool, rate: float, events: int, seed: int, keep: bool) -> int:
    from rich.console import Console

    from worker.demo import report, show
    from worker.demo.jars import find_java
    from worker.settings.table import shipped_schemas

    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    folder = Path(tempfile.mkdtemp(prefix="dreamdata-worker-demo-")) if keep else None
    # Small requests, so that there is something to watch; live, the worker's own defaults.
    settings = {} if live else {"BATCH_MAX_EVENTS": "100"}
    with show.stage(
        console,
        java=find_java(os.environ),
        schemas=shipped_schemas(),
        folder=folder,
        events=events,
        settings=settings,
    ) as on:
        if live:
            show.deliver_on(console, on, seed=seed, per_second=rate)
            problems = False
        else:
            problems = bool(show.deliver_all(console, on, events=events, seed=seed).problems)
            console.print(report.what_next(), markup=False)
        if problems:
            console.print(on.worker.log_tail(), markup=False)
    if keep:
        console.print(f"Kafka's data and the logs are in {folder}")
    return _NOT_AS_EXPECTED if problems else 0
