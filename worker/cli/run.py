"""`run`: the main job. Has the parts put together, serves the status pages, and ends as asked. No logic of its own."""

import os
from pathlib import Path

import click
import structlog

from worker import __version__
from worker.assembly import live_job
from worker.running import begin, reporting, work
from worker.settings import load
from worker.settings.values import NOT_REQUIRED

log = structlog.get_logger()


@click.command(
    epilog="""\b
Example:
  DREAMDATA_API_KEY_FILE=/run/secrets/key CONSENT_CATEGORIES=analytics,marketing \\
    KAFKA_BROKERS=kafka:9092 dreamdata-worker run
"""
)
@click.option(
    "--config", type=click.Path(path_type=Path), help="A TOML file of settings; the environment wins over it."
)
def run(config: Path | None) -> None:
    """Deliver events from Kafka to Dreamdata until told to stop (SIGTERM, Ctrl-C).

    Settings are environment variables, or lower-case names in the file: the README lists all of them.
    """
    settings = load(os.environ, config)
    stop = begin(settings)
    with reporting(settings, serve=True) as (reporter, port):
        log.info(
            "worker.started",
            version=__version__,
            port=port,
            api=settings.dreamdata_url,
            brokers=list(settings.kafka_brokers),
            group=settings.kafka_consumer_group,
            topics=list(settings.kafka_topics),
            variant=settings.variant.value,
            consent_categories=list(settings.consent_categories) or NOT_REQUIRED,
        )
        work(settings, live_job(settings), reporter, stop.is_set)
    log.info("worker.stopped")
