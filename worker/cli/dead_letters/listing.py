"""`dead-letters list`: a line each, and what they add up to."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worker.cli.dead_letters.options import (
    begin,
    max_redrives_option,
    now_ms,
    reader_of,
    redriven_to,
    selection_of,
    selection_options,
    settings_options,
)
from worker.cli.reading import kafka

if TYPE_CHECKING:
    from worker.letters.rows import Row
    from worker.letters.sources import LetterTopic

_SHOWN = 50
_STATES = ("waiting", "redriven", "exhausted", "passed", "foreign")

_LIST_EPILOG = """\b
Examples:
  dreamdata-worker dead-letters list --state waiting
  dreamdata-worker dead-letters list --reason rejected --status 400 --since 2h
  dreamdata-worker dead-letters list --json | jq -r .source_offset

\b
Exit codes: 0 listed, be it nothing; 1 Kafka cannot be read; 2 wrong settings or
arguments.
"""


@click.command("list", epilog=_LIST_EPILOG, short_help="List them, and count them by reason.")
@settings_options
@selection_options
@click.option("--state", "states", multiple=True, type=click.Choice(_STATES), help="May be given again.")
@max_redrives_option
@click.option("--limit", type=click.IntRange(1), help=f"Show so many.  [default: {_SHOWN}; with --json, all]")
@click.option("--oldest-first", is_flag=True, help="Begin with the oldest, not with the newest.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for scripts.")
def list_letters(
    *,
    topic: str | None,
    config: Path | None,
    states: Sequence[str],
    max_redrives: int,
    limit: int | None,
    oldest_first: bool,
    as_json: bool,
    **chosen: Any,
) -> None:
    """List the dead letters, the newest first, and count them by reason. Changes nothing, and takes no API key.

    A state is "waiting" (a redrive would send it), "redriven" (one has gone past it: sent it, or written it again
    further on), "exhausted" (sent again --max-redrives times: it is passed by), "passed" (one with 3 redrives that
    has been gone past, where --max-redrives is higher) or "foreign" (another group's, or no worker's).
    With --json and no --limit they come as they lie, partition by partition.
    """
    from worker.letters.repeats import Repeats, watched
    from worker.letters.rows import Passing, rows
    from worker.letters.selection import Ownership, State
    from worker.letters.sources import refuse_missing

    selection = selection_of(**chosen)
    settings, cluster, topics = begin(topic, config)
    owner = Ownership(settings.kafka_consumer_group, max_redrives)
    _say_what_is_missing(topics)
    reader = reader_of(settings, cluster)
    with kafka(settings):
        refuse_missing(cluster, topics, selection.places)
        redriven = redriven_to(settings, reader, topics)
        repeats, records = Repeats(), Passing(reader.records(topics))
        found = watched(rows(records, redriven, owner, selection, frozenset(map(State, states))), repeats)
        if as_json and limit is None:
            shown = _write_all(found)
        else:
            shown = _write_table(found, limit or _SHOWN, topics, oldest_first=oldest_first, as_json=as_json)
    if not shown:
        _say_there_are_none(topics, records.number)
    if said := str(repeats):
        click.echo(f"{said}.", err=as_json)


def _say_what_is_missing(topics: "Sequence[LetterTopic]") -> None:
    for topic in topics:
        if not topic.partitions:
            click.echo(
                f"{topic.source} has no dead letters: there is no topic {topic.name} (or this user may not see it).",
                err=True,
            )


def _say_there_are_none(topics: "Sequence[LetterTopic]", passed: int) -> None:
    names = ", ".join(topic.name for topic in topics if topic.partitions)
    if passed:
        click.echo(f"Of the dead letters in {names} none of {passed:,} match.", err=True)
    elif names:
        click.echo(f"No dead letters in {names}.", err=True)


def _write_all(found: "Iterable[Row]") -> int:
    """Returns how many there were."""
    from worker.letters import rows, words

    counts: rows.Counts = rows.Counts()
    for row in found:
        rows.count(counts, row)
        click.echo(json.dumps(rows.as_json(row), ensure_ascii=False))
    for line in words.totals(counts) if counts else ():
        click.echo(line, err=True)
    return counts.total()


def _write_table(
    found: "Iterable[Row]", limit: int, topics: "Sequence[LetterTopic]", *, oldest_first: bool, as_json: bool
) -> int:
    """Returns how many there were, shown or not."""
    from worker.letters import words
    from worker.letters.rows import Tally
    from worker.letters.rows import as_json as row_as_json

    tally = Tally(limit, oldest_first)
    for row in found:
        tally.take(row)
    if as_json:
        for row in tally.kept:
            click.echo(json.dumps(row_as_json(row), ensure_ascii=False))
    else:
        for line in words.table(tally.kept, now_ms(), with_topic=len(topics) > 1):
            click.echo(line)
    if tally.more:
        which = "newer" if oldest_first else "older"
        click.echo(f"… and {tally.more:,} {which}: --limit shows more of them", err=as_json)
    if tally.counts:
        click.echo("", err=as_json)
    for line in words.totals(tally.counts) if tally.counts else ():
        click.echo(line, err=as_json)
    return tally.counts.total()
