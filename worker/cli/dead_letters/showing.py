"""`dead-letters show`: one of them, whole."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.dead_letters.options import (
    begin,
    max_redrives_option,
    place_of,
    reader_of,
    redriven_to,
    settings_options,
)
from worker.cli.reading import kafka

if TYPE_CHECKING:
    from worker.cluster import Cluster
    from worker.letters.selection import Ownership, Place
    from worker.letters.showing import Shown
    from worker.letters.sources import LetterTopic
    from worker.settings import Settings

_SHOW_EPILOG = """\b
Examples:
  dreamdata-worker dead-letters show 0:17
  dreamdata-worker dead-letters show 0:17 --topic delivery-dreamdata --json --reveal

\b
Exit codes: 0 shown; 1 Kafka cannot be read; 2 wrong settings or arguments, or no
dead letter there.
"""


@click.command(epilog=_SHOW_EPILOG, short_help="Show one: headers, event, what it would become now.")
@settings_options
@click.argument("place", metavar="PARTITION:OFFSET")
@max_redrives_option
@click.option("--reveal", is_flag=True, help="Personal data as it is, not masked.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for scripts.")
def show(*, place: str, topic: str | None, config: Path | None, max_redrives: int, reveal: bool, as_json: bool) -> None:
    """Show a dead letter: its headers, its event where it can be read, and the payload it would make now, or why it
    would make none.

    Changes and sends nothing, and takes no API key. "Now" is with these settings and schemas, and with what is known of
    the visitor.
    """
    from worker.letters.selection import Ownership
    from worker.letters.showing import shown_as_json, shown_in_words

    settings, cluster, topics = begin(topic, config)
    owner = Ownership(settings.kafka_consumer_group, max_redrives)
    with kafka(settings):
        shown = _shown(settings, cluster, _only(topics), place_of(place), owner)
    if as_json:
        click.echo(json.dumps(shown_as_json(shown, reveal=reveal), ensure_ascii=False))
    else:
        for line in shown_in_words(shown, reveal=reveal):
            click.echo(line)


def _only(topics: "Sequence[LetterTopic]") -> "LetterTopic":
    if len(topics) > 1:
        raise click.UsageError(f"Which? --topic names one of {', '.join(topic.name for topic in topics)}.")
    return topics[0]


def _shown(
    settings: "Settings", cluster: "Cluster", topic: "LetterTopic", place: "Place", owner: "Ownership"
) -> "Shown":
    from worker.dead_letters import opened
    from worker.errors import SettingsError
    from worker.letters.looking import judged
    from worker.letters.rows import Row
    from worker.letters.showing import Shown

    if place.partition >= topic.partitions:
        there = f"has {topic.partitions} partitions, counted from 0" if topic.partitions else "is not there"
        raise SettingsError([f"{topic.name} {there}: there is no partition {place.partition}"])
    tp = topic.tps[place.partition]
    reader = reader_of(settings, cluster)
    record = reader.record(tp, place.first)
    letter = opened(record)
    found = judged(settings, cluster, tp, record, letter) if letter else None
    state = owner.state(letter, record.offset, redriven_to(settings, reader, [topic]).get(tp, 0))
    row = Row(tp, record.offset, record.timestamp_ms, state, letter)
    return Shown(row, record, found.event if found else None, found)
