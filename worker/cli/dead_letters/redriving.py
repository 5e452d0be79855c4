"""`dead-letters redrive`: they are sent again, as if they were new."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worker.cli.dead_letters.options import (
    begin,
    max_redrives_option,
    selection_of,
    selection_options,
    settings_options,
)
from worker.cli.reading import kafka

if TYPE_CHECKING:
    from worker.cluster import Cluster
    from worker.letters.sources import LetterTopic
    from worker.letters.stretching import Stretches, Wanted
    from worker.letters.summary import Summary
    from worker.settings import Settings

_EPILOG = """\b
Examples:
  dreamdata-worker dead-letters redrive --dry-run
  dreamdata-worker dead-letters redrive --reason rejected --since 2026-06-01
  dreamdata-worker dead-letters redrive --offset 0:17 --rate 10

\b
Exit codes: 0 done, or stopped as asked; 1 Kafka cannot be read, or another redrive
is at work; 2 wrong settings or arguments; 4 no progress.
"""


@click.command(epilog=_EPILOG, short_help="Send them again, as if they were new.")
@settings_options
@selection_options
@max_redrives_option
@click.option("--rate", type=click.IntRange(1), help="At most so many letters a second.")
@click.option("--dry-run", is_flag=True, help="Say what would become of them; send and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="The summary as one JSON object, for scripts.")
def redrive(
    *,
    topic: str | None,
    config: Path | None,
    max_redrives: int,
    rate: int | None,
    dry_run: bool,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Send dead letters again: their original bytes, with the settings and schemas of now, consent checked again. It
    ends by itself where the topics end now, and may be stopped and run again.

    An event keeps its messageId. What fails again returns to the topic, its count raised. What is not asked for, or is
    another group's, is left out: written again as it is. Traits are those known of the visitor now; a redriven identify
    teaches nothing. Offsets are those of the group <KAFKA_CONSUMER_GROUP>.redrive; what it has gone past is not read
    again.
    """
    from worker.letters.selection import Ownership
    from worker.letters.sources import refuse_missing
    from worker.letters.stretching import Wanted
    from worker.letters.summary import as_json as summary_as_json
    from worker.letters.summary import in_words

    selection = selection_of(**chosen)
    settings, cluster, topics = begin(topic, config, api_key_required=not dry_run)
    wanted = Wanted(Ownership(settings.kafka_consumer_group, max_redrives), selection)
    there = [each for each in topics if each.partitions]
    for each in topics:
        if not each.partitions:
            click.echo(f"{each.source} has no dead letters: there is no topic {each.name}.", err=True)
    with kafka(settings):
        refuse_missing(cluster, there, selection.places)
        summary = (_rehearsed if dry_run else _redriven)(settings, cluster, there, wanted, rate)
    if as_json:
        click.echo(json.dumps(summary_as_json(summary)))
        return
    for line in in_words(summary, rehearsed=dry_run):
        click.echo(line)
    if dry_run:
        click.echo("Nothing was sent or written.")


def _redriven(
    settings: "Settings", cluster: "Cluster", topics: "Sequence[LetterTopic]", wanted: "Wanted", rate: int | None
) -> "Summary":
    from worker import running
    from worker.errors import GroupBusyError
    from worker.letters.redriving import redrive as work
    from worker.letters.stretching import begun, found
    from worker.letters.summary import Summary, summary_of

    if not topics:
        return Summary()
    try:
        stretches = begun(cluster, found(cluster, topics, wanted), wanted)
        stop = running.begin(settings)
        with running.reporting(settings, serve=settings.is_given("port")) as (reporter, _):
            return summary_of(
                work(settings, cluster, topics, stretches, wanted, rate=rate, reporter=reporter, stop=stop)
            )
    except GroupBusyError as error:
        raise click.ClickException(str(error)) from error


def _rehearsed(
    settings: "Settings", cluster: "Cluster", topics: "Sequence[LetterTopic]", wanted: "Wanted", _rate: int | None
) -> "Summary":
    from worker.letters.redriving import rehearsed
    from worker.letters.stretching import found

    stretches: Stretches = found(cluster, topics, wanted) if topics else {}
    return rehearsed(settings, stretches, wanted)
