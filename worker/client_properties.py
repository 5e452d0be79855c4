"""What Kafka's clients are told: the settings in librdkafka's words. No client is made in here."""

import re
from typing import Any

from worker.settings.checks import SESSION_TIMEOUT_MS
from worker.settings.table import Settings
from worker.settings.values import GroupProtocol

COOPERATIVE = "cooperative-sticky"

# The other clients would warn of each.
_CONSUMER_ONLY = re.compile(
    r"(fetch|queued|group|session|heartbeat|max\.poll|max\.partition\.fetch|partition\.assignment|coordinator|check)\."
)


def client_properties(settings: Settings) -> dict[str, Any]:
    """What all clients of the worker share, `KAFKA_CLIENT` last, so that it wins; nothing the others would warn of."""
    properties: dict[str, Any] = {
        "bootstrap.servers": ",".join(settings.kafka_brokers),
        "client.id": "dreamdata-worker",
        # what goes wrong reaches `error_cb` as well; librdkafka's own lines come by the hundred while a broker is down
        "log_level": 2,
        # A producer asks for the topics it has written to every few minutes, and a stock broker would make those that
        # are gone, with its own retention and without compaction.
        "allow.auto.create.topics": "false",
        "security.protocol": ("SASL_" if settings.kafka_sasl_mechanism else "")
        + ("SSL" if settings.kafka_tls_enabled else "PLAINTEXT"),
        "ssl.ca.location": settings.kafka_tls_ca_file,
        "ssl.certificate.location": settings.kafka_tls_cert_file,
        "ssl.key.location": settings.kafka_tls_key_file,
        "sasl.mechanism": settings.kafka_sasl_mechanism,
        "sasl.username": settings.kafka_sasl_username,
        "sasl.password": settings.secret("kafka_sasl_password"),
    }
    given = {name: value for name, value in settings.kafka_client.items() if not _CONSUMER_ONLY.match(name)}
    return {name: str(value) for name, value in properties.items() if value is not None} | given


def consumer_properties(settings: Settings, group: str | None = None) -> dict[str, Any]:
    """Ours first, `KAFKA_CLIENT` over them, then what the worker's promises rest on. `group` None: the worker's own."""
    classic = settings.kafka_group_protocol is GroupProtocol.CLASSIC
    ours: dict[str, Any] = {
        # A small queue keeps memory low; the short back-off keeps it from costing a second's pause whenever full.
        "queued.max.messages.kbytes": 512,
        # A fetch is held in memory as a whole until its last record is handed out; a larger record is fetched alone.
        "fetch.max.bytes": 2_000_000,
        # Four partitions in each, not two, so that lanes fill side by side and fewer batches wait.
        "max.partition.fetch.bytes": 500_000,
        "fetch.queue.backoff.ms": 5,
        # How long a resumed partition may wait for the fetch that is under way for the others.
        "fetch.wait.max.ms": 50,
        # how soon added partitions and topics that did not exist yet are seen
        "topic.metadata.refresh.interval.ms": 30_000,
        "group.protocol": settings.kafka_group_protocol.value,
    }
    if classic:
        ours |= {"partition.assignment.strategy": COOPERATIVE, "session.timeout.ms": SESSION_TIMEOUT_MS}
    return {
        **ours,
        **client_properties(settings),
        **settings.kafka_client,
        "group.id": group or settings.kafka_consumer_group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
    }
