"""The options that the commands about dead letters share, and what they mean."""

import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worker.cli.reading import kafka

if TYPE_CHECKING:
    from worker.cluster import Cluster
    from worker.core.records import TopicPartition
    from worker.letters.selection import Place, Selection
    from worker.letters.sources import LetterTopic, Reader
    from worker.settings import Settings

_REASONS = ("undecodable", "unknown-schema", "invalid-event", "too-large", "rejected", "gave-up")
_PLACE = re.compile(r"(\d{1,10}):(\d{1,19})(?:-(\d{1,19}))?")


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What all of them take."""
    for add in (
        click.option(
            "--config", type=click.Path(path_type=Path), help="A TOML file of settings; the environment wins over it."
        ),
        click.option("--topic", help="Of this topic alone.  [default: all of KAFKA_TOPICS]"),
    ):
        command = add(command)
    return command


def selection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which letters are meant: all that pass every option given."""
    for add in (
        click.option("--until", metavar="TIME", help="Failed first before this, likewise."),
        click.option(
            "--since",
            metavar="TIME",
            help="Failed first at or after this: 2026-06-01, 2026-06-01T10:00Z or 2h (ago); UTC unless a zone is said.",
        ),
        click.option(
            "--offset",
            "places",
            multiple=True,
            metavar="P:OFFSET[-LAST]",
            help="This one, or all from OFFSET to LAST; may be given again.",
        ),
        click.option(
            "--status", "statuses", multiple=True, type=int, help="The API's last answer; may be given again."
        ),
        click.option("--reason", "reasons", multiple=True, type=click.Choice(_REASONS), help="May be given again."),
    ):
        command = add(command)
    return command


def max_redrives_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--max-redrives",
        type=click.IntRange(1),
        default=3,
        show_default=True,
        help="One that was sent again so often is exhausted.",
    )(command)


def selection_of(
    *, reasons: Sequence[str], statuses: Sequence[int], places: Sequence[str], since: str | None, until: str | None
) -> "Selection":
    """Raises SettingsError, which has all that is wrong with them."""
    from worker.errors import SettingsError
    from worker.letters.selection import Selection

    now, problems = now_ms(), list[str]()
    wanted = [_place(text, problems) for text in places]
    since_ms, until_ms = _moment("--since", since, now, problems), _moment("--until", until, now, problems)
    if since_ms is not None and until_ms is not None and since_ms >= until_ms:
        problems.append(f"--since {since} is not before --until {until}: nothing lies in between")
    if problems:
        raise SettingsError(problems)
    return Selection(
        frozenset(reasons), frozenset(statuses), tuple(place for place in wanted if place), since_ms, until_ms
    )


def _moment(option: str, text: str | None, now: int, problems: list[str]) -> int | None:
    from worker.moments import moment_ms, span_ms

    if text is None:
        return None
    ago_ms = span_ms(text)
    try:
        return now - ago_ms if ago_ms is not None else moment_ms(text)
    except ValueError as error:
        problems.append(f"{option}: {error}; or a span back from now (2h, 30d)")
        return None


def _place(text: str, problems: list[str]) -> "Place | None":
    from worker.letters.selection import Place

    found = _PLACE.fullmatch(text)
    if found is None:
        problems.append(f"--offset: {text!r} is no place; allowed: P:OFFSET (as `list` shows it) or P:OFFSET-LAST")
        return None
    first, last = int(found[2]), int(found[3] or found[2])
    if last < first:
        problems.append(f"--offset {text} ends before it begins: P:OFFSET-LAST has the smaller offset first")
    return Place(int(found[1]), first, last)


def place_of(text: str) -> "Place":
    """Of the one letter that is named."""
    from worker.letters.selection import Place

    found = _PLACE.fullmatch(text)
    if found is None or found[3]:
        raise click.UsageError(f"{text!r} is no place: PARTITION:OFFSET, as 0:17, is what `list` shows.")
    return Place(int(found[1]), int(found[2]), int(found[2]))


def begin(
    topic: str | None, config: Path | None, *, api_key_required: bool = False
) -> "tuple[Settings, Cluster, list[LetterTopic]]":
    """The settings, and the dead-letter topics that are meant."""
    from worker.client_properties import client_properties
    from worker.cluster import Cluster
    from worker.letters.sources import topics_of
    from worker.settings import load

    settings = load(os.environ, config, api_key_required=api_key_required)
    cluster = Cluster(client_properties(settings))
    with kafka(settings):
        return settings, cluster, topics_of(cluster, settings.topic_names(), topic)


def reader_of(settings: "Settings", cluster: "Cluster") -> "Reader":
    from worker.client_properties import consumer_properties
    from worker.letters.sources import Reader

    return Reader(cluster, consumer_properties(settings))


def redriven_to(settings: "Settings", reader: "Reader", topics: "list[LetterTopic]") -> "dict[TopicPartition, int]":
    """Nothing where the group may not be asked for: then all are said to wait."""
    from worker.errors import KafkaUnavailableError

    try:
        return reader.redriven_to(settings.kafka_consumer_group, topics)
    except KafkaUnavailableError as error:
        click.echo(f"Note: how far a redrive is cannot be told: {error}", err=True)
        return {}


def now_ms() -> int:
    return time.time_ns() // 1_000_000
