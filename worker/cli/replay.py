"""`replay`: a range sent again, and what there is of replays. Options in, words and an exit code out; the work is done
in `worker.replay`, imported late so that --help is quick.
"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from worker.cli.reading import kafka

if TYPE_CHECKING:
    from worker.cluster import Cluster
    from worker.replay.performing import Order
    from worker.settings import Settings

_EPILOG = """\b
Examples:
  dreamdata-worker replay --name june --from 2026-06-01 --to 2026-06-08
  dreamdata-worker replay --name leads --from 2026-06-01 --event "Lead Generated" --rate 500 --dry-run
  dreamdata-worker replay --name gap --topic delivery-dreamdata --from-offset 0:1200 --to-offset 0:1500
  dreamdata-worker replay --name june          (goes on where it was)
  dreamdata-worker replay list

\b
Exit codes: 0 done, or stopped as asked (its progress is kept); 1 Kafka cannot be
reached, or ended this client; 2 wrong settings or arguments; 4 no progress.
"""
_CONFIG = click.option(
    "--config", type=click.Path(path_type=Path), help="A TOML file of settings; the environment wins over it."
)


@click.group(epilog=_EPILOG, invoke_without_command=True)
@click.option("--name", help="What it is called. The same name again goes on with the same range.")
@click.option("--from", "from_time", help="Records not older than this: a date or an ISO time, or `beginning`.")
@click.option("--to", "to_time", help="Records older than this.  [default: the end as it is now]")
@click.option("--from-offset", "from_offsets", multiple=True, help="PARTITION:OFFSET, or OFFSET for all others.")
@click.option("--to-offset", "to_offsets", multiple=True, help="The same; the offset itself is left out.")
@click.option("--topic", help="Of this topic alone.  [default: all of KAFKA_TOPICS]")
@click.option("--event", "events", multiple=True, help="Only events of this name; may be given again.")
@click.option("--rate", type=click.IntRange(1), help="At most so many records a second, in this process.")
@click.option(
    "--warm-up",
    default="all",
    show_default=True,
    help="How far before the range visitors are looked for: all, none, a span (30d), or a date.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be sent. Sends, commits and makes nothing.")
@_CONFIG
@click.pass_context
def replay(
    ctx: click.Context,
    *,
    name: str | None,
    from_time: str | None,
    to_time: str | None,
    from_offsets: tuple[str, ...],
    to_offsets: tuple[str, ...],
    topic: str | None,
    events: tuple[str, ...],
    rate: int | None,
    warm_up: str,
    dry_run: bool,
    config: Path | None,
) -> None:
    """Send a range of records again, without touching the live group; end when it is done.

    Times are the Kafka records', in UTC unless they have a zone. The range is fixed when the replay begins. Its
    progress is kept in Kafka, in the group `<KAFKA_CONSUMER_GROUP>.replay.<name>`: after a stop or a crash the same
    name goes on where it was, and several processes with the same name share the partitions.

    Events go out as they did the first time, with the same messageIds, and with what was known of their visitors at
    that point. Nothing is written to the identity log; dead letters go to the usual topic.
    """
    if ctx.invoked_subcommand is not None:
        _refuse_options(ctx, ctx.invoked_subcommand)
        return
    if name is None:
        raise click.UsageError("--name is missing: what this replay is called, and found again by.")
    from worker.client_properties import client_properties
    from worker.cluster import Cluster
    from worker.extents import RangeOptions
    from worker.replay import words
    from worker.replay.options import warm_up_of
    from worker.replay.performing import Order, perform, registered
    from worker.settings import load

    options = RangeOptions(topic, from_time, to_time, from_offsets, to_offsets)
    settings = load(os.environ, config, api_key_required=not dry_run)
    order = Order(name, options, events, rate, warm_up_of(warm_up))
    cluster = Cluster(client_properties(settings))
    if dry_run:
        _rehearse(settings, cluster, order)
        return
    with kafka(settings):
        found = registered(settings, cluster, order)
        if not found.left:
            click.echo("\n".join(words.summary(found, {})))
            return
        found, own = perform(settings, cluster, order, found)
    click.echo("\n".join(words.summary(found, own)))


def _refuse_options(ctx: click.Context, subcommand: str) -> None:
    """What stands before a subcommand would be ignored, and somebody meant something by it."""
    given = [
        param.opts[0]
        for param in ctx.command.params
        if param.name and ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(
            f"{', '.join(given)}: not before `{subcommand}`, which takes what it needs behind it; "
            f"see `replay {subcommand} --help`."
        )


def _rehearse(settings: "Settings", cluster: "Cluster", order: "Order") -> None:
    from worker.replay import words
    from worker.replay.rehearsing import rehearsed

    with kafka(settings):
        click.echo("\n".join(words.rehearsed_in_words(order.name, rehearsed(settings, cluster, order))))


@replay.command("list", short_help="Show the replays there are.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line and replay, for scripts.")
@_CONFIG
def list_replays(*, as_json: bool, config: Path | None) -> None:
    """Show the replays there are: their ranges, and how far they have come."""
    from worker.replay import words
    from worker.replay.known import known_replays
    from worker.settings import load

    settings = load(os.environ, config, api_key_required=False)
    with kafka(settings):
        found = known_replays(settings)
    if as_json:
        for each in found:
            click.echo(json.dumps(words.as_json(each.replay, members=each.members), ensure_ascii=False))
        return
    click.echo("\n".join(words.listed(found)))


@replay.command(short_help="Forget a replay and its progress.")
@click.argument("name")
@_CONFIG
def drop(*, name: str, config: Path | None) -> None:
    """Forget a replay and its progress, so that its name can have another range. What it has sent stays sent."""
    from worker.replay.known import drop_replay
    from worker.settings import load

    settings = load(os.environ, config, api_key_required=False)
    with kafka(settings):
        group = drop_replay(settings, name)
    click.echo(f"Dropped: group {group} is gone.")
