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
    from worker.letters.redriving import nothing_matches, rehearsed
    from worker.letters.selection import Ownership
    from worker.letters.sources import refuse_missing
    from worker.letters.stretching import Wanted, found
    from worker.letters.summary import Summary, in_words
    from worker.letters.summary import as_json as summary_as_json

    selection = selection_of(**chosen)
    settings, cluster, topics = begin(topic, config, api_key_required=not dry_run)
    wanted = Wanted(Ownership(settings.kafka_consumer_group, max_redrives), selection)
    there = [each for each in topics if each.partitions]
    for each in topics:
        if not each.partitions:
            click.echo(f"{each.source} has no dead letters: there is no topic {each.name}.", err=True)
    with kafka(settings):
        refuse_missing(cluster, there, selection.places)
        stretches = found(cluster, there, wanted) if there else {}
        unmatched = nothing_matches(settings, stretches, wanted) if stretches else None
        if unmatched is not None:
            click.echo(str(unmatched), err=as_json)
        if unmatched is not None or not there:
            summary = Summary()
        elif dry_run:
            summary = rehearsed(settings, stretches, wanted)
        else:
            summary = _redriven(settings, cluster, there, stretches, wanted, rate)
    if as_json:
        click.echo(json.dumps(summary_as_json(summary)))
        return
    if unmatched is None:
        for line in in_words(summary, rehearsed=dry_run):
            click.echo(line)
    if dry_run or unmatched is not None:
        click.echo("Nothing was sent or written.")


def _redriven(
    settings: "Settings",
    cluster: "Cluster",
    topics: "Sequence[LetterTopic]",
    stretches: "Stretches",
    wanted: "Wanted",
    rate: int | None,
) -> "Summary":
    from worker import running
    from worker.errors import GroupBusyError
    from worker.letters.redriving import redrive as work
    from worker.letters.stretching import begun
    from worker.letters.summary import summary_of

    try:
        stretches = begun(cluster, stretches, wanted)
        stop = running.begin(settings)
        with running.reporting(settings, serve=settings.is_given("port")) as (reporter, _):
            return summary_of(
                work(settings, cluster, topics, stretches, wanted, rate=rate, reporter=reporter, stop=stop)
            )
    except GroupBusyError as error:
        raise click.ClickException(str(error)) from error
