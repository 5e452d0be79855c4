"""The command `tap`: options in, lines out. What is watched is in `worker.tap`, imported late so that `--help` stays
quick.
"""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from worker.tap.client import Message

_EPILOG = """\b
Examples:
  dreamdata-worker tap
  dreamdata-worker tap --outcome filtered --reason no-consent --stages
  dreamdata-worker tap --message-id evt_6f47f5a0 --stages --reveal --seconds 60
  dreamdata-worker tap --json | jq -r .messageId

\b
Outcomes: delivered, filtered, dead_lettered; on the way there pending (not shown unless asked for),
retried, refused (its batch is halved) and held (wrong key or address).
"""


@click.command(epilog=_EPILOG)
@click.option("--url", help="The worker's pages.  [default: from HOST and PORT]")
@click.option("--outcome", "outcomes", multiple=True, help="Only these; may be repeated, as all filters may.")
@click.option("--reason", "reasons", multiple=True, help="Only these reasons: no-consent, unmapped, rejected, ...")
@click.option("--event", "events", multiple=True, help="Only this event, by Signal's name or Dreamdata's.")
@click.option("--message-id", "message_ids", multiple=True, help="Only the event with this messageId.")
@click.option("-v", "--stages", is_flag=True, help="Show input, consent, payload and answer of each.")
@click.option("--reveal", is_flag=True, help="Show personal data. Otherwise the worker masks it before it leaves.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with all stages.")
@click.option("--count", type=click.IntRange(1), help="End after so many lines.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="End after so long.")
@click.option("--config", type=click.Path(path_type=Path), help="The worker's TOML file of settings.")
def tap(
    *,
    url: str | None,
    outcomes: tuple[str, ...],
    reasons: tuple[str, ...],
    events: tuple[str, ...],
    message_ids: tuple[str, ...],
    stages: bool,
    reveal: bool,
    as_json: bool,
    count: int | None,
    seconds: float | None,
    config: Path | None,
) -> None:
    """Watch what becomes of events in a running worker, live, newest last.

    Asks the worker itself, at its HOST and PORT; from beyond its machine with its CONSOLE_TOKEN or CONSOLE_TOKEN_FILE.
    It changes nothing, and begins with what happens from now on. Ctrl-C ends it.
    """
    from worker.tap.client import QueryRefusedError, TapError, Watcher

    address, token = _where(url, config)
    query = [
        *(("outcome", outcome.replace("-", "_")) for outcome in outcomes),
        *(("reason", reason) for reason in reasons),
        *(("event", event) for event in events),
        *(("message_id", message_id) for message_id in message_ids),
        ("reveal", str(reveal).lower()),
    ]
    try:
        watcher = Watcher(address, token, query)
        _show(watcher.messages(), stages=stages, as_json=as_json, count=count, seconds=seconds)
    except QueryRefusedError as error:
        raise click.UsageError(str(error)) from None
    except TapError as error:
        raise click.ClickException(str(error)) from None


def _where(url: str | None, config: Path | None) -> tuple[str, str | None]:
    """The worker's address and token, from the settings that it was started with."""
    from worker.settings import load_only

    settings = load_only(("host", "port", "console_token"), os.environ, config)
    token = settings.secret("console_token")
    if url is not None:
        return url, token
    if settings.port == 0:
        raise click.UsageError("PORT is 0, so the worker took any free port: --url says which; its log names it.")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}", token


def _show(
    messages: Iterable["Message"], *, stages: bool, as_json: bool, count: int | None, seconds: float | None
) -> None:
    from rich.console import Console

    from worker.tap.client import Kind

    console = Console(highlight=False, soft_wrap=True)
    deadline = None if seconds is None else time.monotonic() + seconds
    shown = 0
    for message in messages:
        if message.kind is Kind.MOMENT:
            _show_moment(console, message, stages=stages, as_json=as_json)
            shown += 1
        else:
            _say(message)
        if shown == count or (deadline is not None and time.monotonic() >= deadline):
            return


def _show_moment(console: "Console", message: "Message", *, stages: bool, as_json: bool) -> None:
    from worker.tap import lines

    if as_json:
        # not through the console, which would look for markup and wrap
        click.echo(message.text)
        return
    assert message.content is not None
    console.print(lines.line(message.content))
    for stage in lines.stages(message.content) if stages else ():
        console.print(stage)


def _say(message: "Message") -> None:
    """What is not about an event goes to stderr, so that a pipe has events alone."""
    from worker.tap.client import Kind

    content = message.content or {}
    match message.kind:
        case Kind.STATE:
            if content["missed"]:
                click.echo("What happened in between was not seen.", err=True)
            for reason in content["reasons"]:
                click.echo(f"The worker is not ready: {reason}", err=True)
            if content["ready"]:
                click.echo("The worker is ready; watching. Ctrl-C ends it.", err=True)
        case Kind.DROPPED:
            click.echo(f"{content['dropped']} not shown: more came than can be shown. A filter helps.", err=True)
        case Kind.LOST:
            click.echo("The worker is gone; looking for it every second.", err=True)
        case Kind.FOUND:
            click.echo("Connected again.", err=True)
