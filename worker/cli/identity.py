"""The command `identity`: what is known of a visitor, shown or forgotten. Words in, words and an exit code out; the
work is done in `worker.visitors`.
"""

import json
import os
import sys
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worker.cli.reading import kafka

if TYPE_CHECKING:
    from worker.cluster import Cluster
    from worker.settings import Settings
    from worker.visitors.sources import Log, Searcher
    from worker.visitors.traces import Trace

_FOUND_SOMETHING = 3

_EPILOG = """\b
Examples:
  dreamdata-worker identity show df_8f2a1c9e
  dreamdata-worker identity show user-123 --user-id --reveal
  dreamdata-worker identity forget df_8f2a1c9e
"""
_SHOW_EPILOG = """\b
Examples:
  dreamdata-worker identity show df_8f2a1c9e
  dreamdata-worker identity show df_8f2a1c9e --json --reveal
  dreamdata-worker identity show user-123 --user-id

\b
Exit codes: 0 shown; 1 Kafka cannot be read; 2 wrong settings or arguments;
3 nothing is known of this visitor.
"""
_FORGET_EPILOG = """\b
Examples:
  dreamdata-worker identity forget df_8f2a1c9e
  dreamdata-worker identity forget user-123 --user-id --topic delivery-dreamdata --yes

\b
Exit codes: 0 forgotten, or you said no; 1 Kafka cannot be read, or did not take
all of it; 2 wrong settings or arguments; 3 dead letters still hold this visitor,
or a topic has no identity log yet.
"""


@click.group(epilog=_EPILOG)
def identity() -> None:
    """Show what is known of a visitor, or forget it.

    A visitor is an anonymousId, or with --user-id a userId without one: two name spaces, and `x` in the one is not `x`
    in the other. The settings are those of `run`; nothing of them but Kafka's is used, and no API key is needed.
    """


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What both commands take."""
    for add in (
        click.option(
            "--config", type=click.Path(path_type=Path), help="A TOML file of settings; the environment wins over it."
        ),
        click.option("--topic", help="Of this topic alone.  [default: all of KAFKA_TOPICS]"),
        click.option("--user-id", "by_user_id", is_flag=True, help="ID is a userId, of events without anonymousId."),
        click.argument("visitor_id", metavar="ID"),
    ):
        command = add(command)
    return command


@identity.command(epilog=_SHOW_EPILOG, short_help="Show what is known of a visitor.")
@_options
@click.option("--reveal", is_flag=True, help="Personal data as it is, not masked.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line and partition, for scripts.")
def show(
    *, visitor_id: str, by_user_id: bool, topic: str | None, reveal: bool, as_json: bool, config: Path | None
) -> None:
    """Show what is known of a visitor: traits, userId, since when, and where it was learned.

    It is read from the identity log as a worker would that is assigned the partition now. Changes nothing.
    """
    from worker.visitors import words

    settings, cluster, visitor = _begin(visitor_id, config, by_user_id=by_user_id)
    with kafka(settings):
        logs, searcher = _logs(settings, cluster, topic), _searcher(settings, cluster, visitor)
        traces = [(log, trace) for log in logs for trace in _traces(settings, searcher, log)]
    found = [(log, trace) for log, trace in traces if trace.entries]
    for log, trace in found:
        if as_json:
            click.echo(json.dumps(words.as_json(trace, reveal=reveal), ensure_ascii=False))
        else:
            click.echo("\n".join(words.in_words(trace, log, settings.identity_ttl_days, reveal=reveal)))
    for line in words.alike_in_words(trace for _, trace in traces):
        click.echo(line, err=as_json)
    if not any(trace.state for _, trace in found):
        click.echo(f"Nothing is known of {visitor} in {', '.join(log.name for log in logs)}.", err=True)
        click.get_current_context().exit(_FOUND_SOMETHING)


@identity.command(epilog=_FORGET_EPILOG, short_help="Forget a visitor, and name the dead letters that hold it.")
@_options
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(*, visitor_id: str, by_user_id: bool, topic: str | None, yes: bool, config: Path | None) -> None:
    """Forget a visitor, with all that the topics hold by now: nothing of it is learned again.

    A tombstone goes into every partition's identity log. The worker that has the partition obeys at once, one that is
    assigned it later before its first event. What lies in the topics themselves, in dead letters and at Dreamdata is
    not touched; dead letters that still hold the visitor are listed.
    """
    from worker.visitors import words

    settings, cluster, visitor = _begin(visitor_id, config, by_user_id=by_user_id)
    with kafka(settings):
        logs, searcher = _logs(settings, cluster, topic), _searcher(settings, cluster, visitor)
        traces = {log.name: _traces(settings, searcher, log) for log in logs}
    for log in logs:
        known = [str(trace.tp) for trace in traces[log.name] if trace.state]
        click.echo(
            f"{visitor} is known in {', '.join(known)}." if known else f"{visitor} is not known in {log.source}."
        )
    for line in words.alike_in_words(trace for found in traces.values() for trace in found):
        click.echo(line)
    if not yes and not _confirmed(visitor):
        click.echo("Nothing was written.")
        return
    with kafka(settings):
        written = [_forget_in(settings, cluster, log, visitor) for log in logs if log.partitions]
        left = [_letters_left(settings, searcher, log) for log in logs]
    if not all(written):
        raise click.ClickException("Not all of it was written. To run the command again does no harm.")
    if any(left) or any(log.missing for log in logs):
        click.get_current_context().exit(_FOUND_SOMETHING)


def _begin(visitor_id: str, config: Path | None, *, by_user_id: bool) -> tuple["Settings", "Cluster", str]:
    from worker.client_properties import client_properties
    from worker.cluster import Cluster
    from worker.core.identity import visitor_of
    from worker.settings import load

    visitor = visitor_of(None, visitor_id) if by_user_id else visitor_of(visitor_id, None)
    if visitor is None:
        raise click.UsageError("ID is empty: nobody has an empty id.")
    settings = load(os.environ, config, api_key_required=False)
    return settings, Cluster(client_properties(settings)), visitor


def _logs(settings: "Settings", cluster: "Cluster", topic: str | None) -> list["Log"]:
    """Raises SettingsError where there is no log at all: then the names are wrong, or no worker has ever run."""
    from worker.errors import SettingsError
    from worker.visitors.sources import logs_of

    logs = logs_of(cluster, settings.topic_names(), topic)
    if not any(log.partitions for log in logs):
        raise SettingsError(
            [
                f"there is no topic {log.name} (or this user may not see it): KAFKA_CONSUMER_GROUP and IDENTITY_TOPIC "
                "must be those of the worker, and it must have run once"
                for log in logs
            ]
        )
    for log in logs:
        if log.missing:
            partitions = ", ".join(map(str, log.missing))
            click.echo(
                f"Note: {log.name} lacks partition {partitions} of {log.source}: nothing is known there, and a worker "
                "will learn from all it reads there. Run the command again once one has started.",
                err=True,
            )
    return logs


def _searcher(settings: "Settings", cluster: "Cluster", visitor: str) -> "Searcher":
    from worker.client_properties import consumer_properties
    from worker.visitors.sources import Searcher

    return Searcher(cluster, consumer_properties(settings), visitor)


def _traces(settings: "Settings", searcher: "Searcher", log: "Log") -> list["Trace"]:
    return searcher.traces(log, settings.kafka_consumer_group, settings.kafka_auto_offset_reset)


def _forget_in(settings: "Settings", cluster: "Cluster", log: "Log", visitor: str) -> bool:
    """Whether all of it was written; says what."""
    from worker.client_properties import client_properties
    from worker.visitors import words
    from worker.visitors.forgetting import forget

    forgotten = forget(cluster, client_properties(settings), log, visitor)
    for each in forgotten:
        click.echo(words.forgotten_in_words(each))
    click.echo(f"Kafka removes older entries from {log.name} {words.erasure(cluster.config(log.name))}.")
    return all(each.written.offset is not None for each in forgotten)


def _letters_left(settings: "Settings", searcher: "Searcher", log: "Log") -> int:
    """How many dead letters are known to hold the visitor still; says which."""
    from worker.assembly import registry_of
    from worker.schema_directory import load_directory
    from worker.visitors import words
    from worker.visitors.sources import Reader

    found = registry_of(settings)
    topic = settings.topic_names().dead_letter(log.source)
    local = load_directory(settings.schema_dir)
    with closing(found) if found else nullcontext() as registry:
        letters = searcher.letters(topic, Reader(local, registry))
    for line in words.letters_in_words(topic, letters):
        click.echo(line)
    return len(letters.found)


def _confirmed(visitor: str) -> bool:
    if not sys.stdin.isatty():
        raise click.UsageError("Nobody can be asked, because standard input is no terminal: --yes says it is meant.")
    return click.confirm(f"Forget {visitor}?")
