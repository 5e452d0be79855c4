"""What every command says that reads from Kafka and cannot."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from worker.settings import Settings


@contextmanager
def kafka(settings: "Settings") -> Iterator[None]:
    """Within it Kafka is read: a command that cannot ends with 1, and says what to check."""
    from worker.errors import KafkaUnavailableError

    try:
        yield
    except KafkaUnavailableError as error:
        raise click.ClickException(
            f"Kafka at {','.join(settings.kafka_brokers)} cannot be read: {error}. Check KAFKA_BROKERS, KAFKA_TLS_*, "
            "KAFKA_SASL_* and the ACLs that the README lists"
        ) from error
