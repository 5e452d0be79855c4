"""The command `dead-letters`: what could not be delivered, listed, shown and sent again. One module a subcommand."""

import click

from worker.cli.dead_letters.listing import list_letters
from worker.cli.dead_letters.redriving import redrive
from worker.cli.dead_letters.showing import show

_EPILOG = """\b
Examples:
  dreamdata-worker dead-letters list
  dreamdata-worker dead-letters show 0:17
  dreamdata-worker dead-letters redrive --dry-run
"""


@click.group("dead-letters", epilog=_EPILOG)
def dead_letters() -> None:
    """List the dead letters, show one, or send them again.

    The settings are those of `run`: which topics, which group, what is sent. A dead letter is named by where it lies in
    its own topic, PARTITION:OFFSET.
    """


dead_letters.add_command(list_letters)
dead_letters.add_command(show)
dead_letters.add_command(redrive)
