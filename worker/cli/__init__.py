"""The commands by name. One module a command, imported late so that --help is quick; no work is done here."""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import NamedTuple

import click

from worker import __version__


class Place(NamedTuple):
    """Where a command is, and what it does in a line."""

    module: str
    attribute: str
    short_help: str


COMMANDS: Mapping[str, Place] = {
    "run": Place("worker.cli.run", "run", "Deliver events from Kafka to Dreamdata. The main job."),
    "check": Place("worker.cli.check", "check", "Look at settings, Kafka, registry and schemas. Sends nothing."),
    "emit": Place("worker.cli.emit", "emit", "Publish a test event, to see it on its way."),
    "render": Place("worker.cli.render", "render", "Show what would be sent for a range or a file. Sends nothing."),
    "tap": Place("worker.cli.tap", "tap", "Watch what becomes of events in a running worker, live."),
    "replay": Place("worker.cli.replay", "replay", "Send a range of records again, as it was the first time."),
    "dead-letters": Place(
        "worker.cli.dead_letters", "dead_letters", "List what could not be delivered, show it, send it again."
    ),
    "identity": Place("worker.cli.identity", "identity", "Show what is known of a visitor, or forget it."),
    "sandbox": Place("worker.cli.sandbox", "sandbox", "Stand in for the Dreamdata API on this machine."),
    "demo": Place("worker.cli.demo", "demo", "Show all of it together: real Kafka, the sandbox, a site's events."),
}


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """What is imported stays: to look for garbage in it, again and again, takes an eighth of an import's CPU."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


class LateGroup(click.Group):
    """A group that knows its commands' names and imports the one that is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        with _nothing_collected():
            command = getattr(import_module(place.module), place.attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table: click's own way imports them all."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.short_help) for name, place in COMMANDS.items()])


@click.group(cls=LateGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dreamdata-worker")
def cli() -> None:
    """Delivers Datafly Signal events from Kafka to the Dreamdata Events API.

    \b
    Examples:
      dreamdata-worker demo
      DREAMDATA_API_KEY=… CONSENT_CATEGORIES=analytics,marketing dreamdata-worker run
      dreamdata-worker run --help

    \b
    Completion in the shell (bash; also zsh, fish):
      eval "$(_DREAMDATA_WORKER_COMPLETE=bash_source dreamdata-worker)"

    \b
    Exit codes: 0 stopped as asked; 1 unexpected, or Kafka ended this client;
    2 wrong settings or arguments; 3 a check found something; 4 no progress.
    """
