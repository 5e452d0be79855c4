"""`render`: what would be sent for a range of records or a file of events. Options in, exit code out.

No logic of its own: `worker.render` does the work, and is imported late so that --help is quick.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.reading import kafka

if TYPE_CHECKING:
    from worker.render.sources import Rendered
    from worker.render.wanted import Wanted
    from worker.settings import Settings

_CHECK_FOUND_SOMETHING = 3
_DEFAULT_COUNT = 100
_STDIN = "-"

_EPILOG = """\b
Examples:
  CONSENT_CATEGORIES=analytics dreamdata-worker render events.jsonl
  CONSENT_CATEGORIES=analytics dreamdata-worker render --topic delivery-dreamdata --from-offset 0 --count 20
  CONSENT_CATEGORIES=analytics dreamdata-worker render --from 2026-06-01 --to 2026-06-02 --event "Lead Generated"
  CONSENT_CATEGORIES=analytics dreamdata-worker render --dead-letters --only outcomes

\b
A test of your mapping: keep what is right, and compare after a change:
  export CONSENT_CATEGORIES=analytics
  dreamdata-worker render events.jsonl --json > expected.jsonl
  EVENT_MAPPING='{"Demo Booked": "demo_booked"}' dreamdata-worker render events.jsonl --expect expected.jsonl

\b
Exit codes: 0 rendered, or as expected; 1 Kafka cannot be read; 2 wrong settings
or arguments; 3 something is not as expected, or (without --expect) `run` would
come no further: it waits for a schema, or holds the partition.
"""


@click.command(epilog=_EPILOG)
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--topic", help="What to read; of a FILE, what it is taken for.  [default: the first of KAFKA_TOPICS]")
@click.option("--partition", "partitions", type=click.IntRange(0), multiple=True, help="May be given again.")
@click.option("--from", "from_time", help="Records not older than this: a date or an ISO time, or `beginning`.")
@click.option("--to", "to_time", help="Records older than this.  [default: the end as it is now]")
@click.option(
    "--from-offset",
    "from_offsets",
    multiple=True,
    help="OFFSET, or PARTITION:OFFSET.  [default: COUNT before the end]",
)
@click.option("--to-offset", "to_offsets", multiple=True, help="The same; the offset itself is left out.")
@click.option(
    "--count",
    type=click.IntRange(1),
    help=f"How many records of a partition.  [default: {_DEFAULT_COUNT}; of a FILE, or where an end is named, all]",
)
@click.option("--event", "events", multiple=True, help="Only events of this name; may be given again.")
@click.option(
    "--dead-letters", is_flag=True, help="Of the dead-letter topic, or of all of them: what a redrive would make now."
)
@click.option("--only", type=click.Choice(["outcomes", "bodies"]), help="Leave the other out.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for scripts and for --expect.")
@click.option(
    "--expect",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Compare with what --json wrote, show what differs, and exit with 3 if anything does.",
)
@click.option(
    "--config", type=click.Path(path_type=Path), help="A TOML file of settings; the environment wins over it."
)
def render(
    *,
    file: Path | None,
    topic: str | None,
    partitions: tuple[int, ...],
    from_time: str | None,
    to_time: str | None,
    from_offsets: tuple[str, ...],
    to_offsets: tuple[str, ...],
    count: int | None,
    events: tuple[str, ...],
    dead_letters: bool,
    only: str | None,
    as_json: bool,
    expect: Path | None,
    config: Path | None,
) -> None:
    """Show exactly what `run` would send for a range of a topic, or for a FILE, and what becomes of each record.

    Sends nothing, commits nothing, joins no group, needs no API key. What it shows is personal data, as it would be
    sent.

    A FILE ("-": standard input) holds Signal events as JSON lines, or is an Avro container file. Its offsets are the
    numbers of its lines or records, from 0. An event without a messageId gets one made of topic, partition and offset.

    Bodies are filled up as under a backlog. Their `sentAt` is new at every attempt: in here it is always in 1970, and
    --expect ignores it, as it does the wording of details.

    A range is one of Kafka's times, in UTC unless they have a zone, or of offsets, as in `replay`. Traits that an
    `identify` within it teaches are attached to later events, as in `run`; what was learned before it is not known.

    --dead-letters shows each letter as `dead-letters redrive` would make it now, with the ids of its first source
    record and what the identity log knows now. --from and --to are then the times at which letters were written.
    """
    from worker.extents import RangeOptions
    from worker.render.expected import difference, parsed
    from worker.render.lines import as_text, chosen, json_of, summary, waits
    from worker.render.wanted import Wanted
    from worker.settings import load

    settings = load(os.environ, config, api_key_required=False)
    expected = chosen(parsed(str(expect), expect.read_bytes()), only) if expect else None
    wanted = Wanted(RangeOptions(topic, from_time, to_time, from_offsets, to_offsets), partitions, count)
    rendered = _rendered(settings, file, wanted, events, dead_letters=dead_letters)
    for note in (*settings.warnings, *rendered.notes):
        click.echo(f"Note: {note}", err=True)
    lines = chosen(rendered.lines, only)
    if expected is None:
        written = b"\n".join(map(json_of, lines)) if as_json else "\n".join(as_text(lines))
        click.echo(written, nl=bool(lines))
        click.echo(summary(rendered.lines), err=True)
        found = waits(rendered.lines)
    else:
        differing = difference(str(expect), expected, lines)
        click.echo("\n".join(differing) or f"As in {expect}: {len(lines)} lines.")
        found = bool(differing)
    click.get_current_context().exit(_CHECK_FOUND_SOMETHING if found else 0)


def _rendered(
    settings: "Settings", file: Path | None, wanted: "Wanted", events: tuple[str, ...], *, dead_letters: bool
) -> "Rendered":
    from worker.letters.rendering import rendered_letters
    from worker.render.extents import rendered_extents
    from worker.render.sources import rendered_file, rendered_range

    if file is not None:
        if dead_letters:
            raise click.UsageError("--dead-letters: a FILE holds events, not dead letters.")
        return rendered_file(settings, str(file), _content(file), wanted.of_file(), events=events)
    with kafka(settings):
        if dead_letters:
            return rendered_letters(settings, wanted, events=events, default_count=_DEFAULT_COUNT)
        if wanted.is_wide:
            return rendered_extents(settings, wanted, events=events, default_count=_DEFAULT_COUNT)
        return rendered_range(settings, wanted.narrow(), events=events, default_count=_DEFAULT_COUNT)


def _content(file: Path) -> bytes:
    return sys.stdin.buffer.read() if str(file) == _STDIN else file.read_bytes()
