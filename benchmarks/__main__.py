"""`python -m benchmarks`: real Kafka, a real registry, one full topic, and every contender on it in turn.

Exit code 1 where contenders did not deliver the same events: then no figure means anything.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import click
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from rich.console import Console

from benchmarks import enrichment, moments, restore
from benchmarks.backfill import EVENTS, paces
from benchmarks.backfill_report import backfill_table
from benchmarks.contenders import CONTENDERS, WORKER, Course, Job
from benchmarks.report import differences, table
from benchmarks.sink import sink
from benchmarks.traffic import events, fill
from tests.integration.registry import Registry
from worker.demo.broker import EmbeddedKafka
from worker.demo.jars import find_java
from worker.demo.site import Produced
from worker.settings.table import shipped_schemas

TOPIC = "delivery-benchmark"
MANY_PARTITIONS = 24
SCENARIOS = ("contenders", "partitions", "identities", "moments", "backfill")

# so many records of the demo's site
Encoded = Callable[[int], Iterator[Produced]]


@contextmanager
def registry(folder: Path) -> Iterator[Registry]:
    running = Registry.start(folder)
    try:
        yield running
    finally:
        running.stop()


def of_identities(brokers: str, visitors: int) -> str:
    """What a restore takes, in a process of its own, and what an event of a known visitor costs on top."""
    topic = f"{TOPIC}-visitors"
    restore.fill(brokers, topic, visitors)
    command = [sys.executable, "-m", "benchmarks.restore", brokers, topic, str(visitors)]
    done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return (
        f"identity log: {visitors:,} visitors restored in {done['seconds']:.1f} s, {done['bytes_a_visitor']:.0f} bytes "
        f"each; an event of a known one costs {enrichment.microseconds():.1f} µs more"
    )


def contend(console: Console, job: Job, partitions: int, rounds: int, only: Sequence[str], encoded: Encoded) -> bool:
    """The worker against the scripts, in turn; whether all delivered the same events."""
    count = job.records
    deliverable, size = fill(job.brokers, job.topic, partitions, encoded(count))
    console.print(
        f"{count:,} events of {size / count:.0f} bytes in {partitions} partitions, {deliverable:,} of them for the "
        f"API; {os.cpu_count()} cores, shared with Kafka, registry and API"
    )
    course, runs = Course(job), []
    chosen = [contender for contender in CONTENDERS if not only or contender.name in only]
    for number in range(1, rounds + 1):
        for contender in chosen:
            done = course.run(contender, f"{contender.name}-{number}")
            console.print(f"round {number}: {contender.name}: {done.cpu_seconds / count * 1e6:.1f} µs an event")
            runs.append(done)
    console.print(table(runs, count, partitions))
    problems = differences(runs, deliverable)
    for problem in problems:
        console.print(problem, style="bold red")
    return not problems


def of_many_partitions(job: Job, encoded: Encoded) -> str:
    """What the worker takes in memory where every partition has a backlog of its own."""
    wide = replace(job, topic=f"{job.topic}-{MANY_PARTITIONS}")
    fill(job.brokers, wide.topic, MANY_PARTITIONS, encoded(job.records))
    done = Course(wide).run(WORKER, "worker-wide")
    return (
        f"{MANY_PARTITIONS} partitions: peak RSS {done.peak_rss_bytes / 1e6:.0f} MB (target: 200), "
        f"{done.cpu_seconds / job.records * 1e6:.1f} µs an event"
    )


def of_moments(job: Job, partitions: int, encoded: Encoded) -> Iterator[str]:
    full, quiet = replace(job, topic=f"{job.topic}-full"), replace(job, topic=f"{job.topic}-quiet")
    fill(job.brokers, full.topic, partitions, encoded(moments.BACKLOG))
    fill(job.brokers, quiet.topic, partitions, iter(()))
    yield moments.start(full)
    yield moments.latency(quiet, encoded(moments.LATENCY_EVENTS))
    yield moments.after_429(full)
    yield moments.after_kill(full)


@click.command()
@click.option("--scenario", "scenarios", multiple=True, type=click.Choice(SCENARIOS), help="All when not given.")
@click.option("--events", "count", default=400_000, show_default=True, help="Records for the contenders.")
@click.option("--partitions", default=4, show_default=True)
@click.option("--rounds", default=3, show_default=True, help="How often each one runs, in turn.")
@click.option("--delay-ms", default=50.0, show_default=True, help="How long the contenders' API takes for an answer.")
@click.option("--visitors", default=1_000_000, show_default=True, help="Entries of the identity log that is restored.")
@click.option("--only", multiple=True, help="A contender's name; all when not given.")
def main(
    scenarios: tuple[str, ...],
    count: int,
    partitions: int,
    rounds: int,
    delay_ms: float,
    visitors: int,
    only: tuple[str, ...],
) -> None:
    """CPU an event, rate, memory and body fill of the worker against two scripts, and what a backfill costs."""
    console, same = Console(width=110), True
    wanted = scenarios or SCENARIOS
    with (
        tempfile.TemporaryDirectory(prefix="dreamdata-worker-bench-") as folder,
        EmbeddedKafka.start(java=find_java(os.environ)) as kafka,
        registry(Path(folder)) as schemas,
        sink(delay_ms) as url,
    ):
        schema = (shipped_schemas() / "signal_event.avsc").read_text()
        client = SchemaRegistryClient({"url": schemas.url})
        schema_id = client.register_schema(f"{TOPIC}-value", Schema(schema, "AVRO"))
        encoded = partial(events, schema_text=schema, schema_id=schema_id)
        job = Job(kafka.bootstrap_servers, TOPIC, schemas.url, url, count, Path(folder))
        if "contenders" in wanted:
            same = contend(console, job, partitions, rounds, only, encoded)
        if "identities" in wanted:
            console.print(of_identities(kafka.bootstrap_servers, visitors))
        if "partitions" in wanted:
            console.print(of_many_partitions(job, encoded))
        if "moments" in wanted:
            for line in of_moments(job, partitions, encoded):
                console.print(line)
        if "backfill" in wanted:
            records = list(encoded(max(EVENTS.values())))
            console.print(backfill_table(paces(job, records, rounds, console.print)))
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
