"""What two or more settings must agree on, as a table. Reads files' names and existence, never their content.

A check names the settings it reads and is left out when one of them is wrong already: no problem is reported twice.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from worker.settings.table import Settings
from worker.settings.values import MAX_TOPIC_CHARACTERS, GroupProtocol, SaslMechanism, is_topic_name

CONNECT_TIMEOUT_SECONDS = 5.0

# the worker's own for `classic`; librdkafka's for the other two
SESSION_TIMEOUT_MS = 12_000
HEARTBEAT_INTERVAL_MS = 3_000
MAX_POLL_INTERVAL_MS = 300_000

_OFFSETS = "offsets move only after delivery, in the worker's own transaction"
_WRITES = "dead letters and offsets are written together or not at all"
_TOPICS = "the worker makes its topics itself, with the right retention"
_BROKER_DECIDES = "with KAFKA_GROUP_PROTOCOL=consumer the broker decides it"

# librdkafka properties that would break a promise, or that have a setting of their own
REFUSED_PROPERTIES = {
    **dict.fromkeys(("enable.auto.commit", "enable.auto.offset.store", "auto.commit.interval.ms"), _OFFSETS),
    **dict.fromkeys(("offset.store.method", "offset.store.path", "auto.commit.enable"), _OFFSETS),
    "isolation.level": "what a producer has taken back must not be delivered",
    "enable.partition.eof": "the end of a partition is no record",
    **dict.fromkeys(("acks", "request.required.acks", "enable.idempotence", "enable.gapless.guarantee"), _WRITES),
    **dict.fromkeys(("transactional.id", "transaction.timeout.ms"), _WRITES),
    "allow.auto.create.topics": _TOPICS,
    **dict.fromkeys(("test.mock.num.brokers", "test.mock.broker.rtt"), "a pretended cluster loses committed offsets"),
    **dict.fromkeys(("bootstrap.servers", "metadata.broker.list"), "set KAFKA_BROKERS instead"),
    "group.id": "set KAFKA_CONSUMER_GROUP instead",
    "group.protocol": "set KAFKA_GROUP_PROTOCOL instead",
    "auto.offset.reset": "set KAFKA_AUTO_OFFSET_RESET instead",
    "sasl.username": "set KAFKA_SASL_USERNAME instead",
    "sasl.password": "set KAFKA_SASL_PASSWORD instead",
    "ssl.ca.location": "set KAFKA_TLS_CA_FILE instead",
    "ssl.certificate.location": "set KAFKA_TLS_CERT_FILE instead",
    "ssl.key.location": "set KAFKA_TLS_KEY_FILE instead",
}
# callbacks are functions; a table can hold none
_CALLBACKS = re.compile(r".*_cb|logger|on_[a-z]+")
_BROKER_DECIDED = ("session.timeout.ms", "heartbeat.interval.ms")

Problems = Iterator[str]


def _said(settings: Settings, name: str) -> str:
    return f"{name.upper()} is {getattr(settings, name)} ({settings.origin(name)})"


def _retries(settings: Settings) -> Problems:
    if settings.retry_initial_seconds > settings.retry_max_seconds:
        yield (
            f"{_said(settings, 'retry_initial_seconds')} and {_said(settings, 'retry_max_seconds')}; "
            "allowed: the first at most the second."
        )


def _giving_up(settings: Settings) -> Problems:
    limit = settings.give_up_after_seconds
    if limit is not None and settings.retry_max_seconds > limit:
        yield (
            f"{_said(settings, 'retry_max_seconds')} and {_said(settings, 'give_up_after_seconds')}; "
            "allowed: the first at most the second."
        )


def _request_timeout(settings: Settings) -> Problems:
    if settings.request_timeout_seconds < CONNECT_TIMEOUT_SECONDS:
        yield (
            f"{_said(settings, 'request_timeout_seconds')}; allowed: at least {CONNECT_TIMEOUT_SECONDS:g}, "
            "the time a connection may take."
        )


def _sizes(settings: Settings) -> Problems:
    if settings.event_max_bytes is not None and settings.event_max_bytes > settings.batch_max_bytes:
        yield (
            f"{_said(settings, 'event_max_bytes')} and {_said(settings, 'batch_max_bytes')}; "
            "allowed: the first at most the second."
        )


def _consent(settings: Settings) -> Problems:
    if "consent_categories" not in settings.model_fields_set:
        yield (
            "CONSENT_CATEGORIES is not set; allowed: the categories that must all be granted "
            "(CONSENT_CATEGORIES=analytics,marketing), or not-required."
        )


def _templates(settings: Settings) -> Problems:
    names = settings.topic_names()
    wanted = (
        ("dead_letter_topic", ("{topic}",), names.dead_letter("t")),
        ("identity_topic", ("{group}", "{topic}"), names.identity("t")),
    )
    for name, placeholders, example in wanted:
        template = getattr(settings, name)
        missing = [placeholder for placeholder in placeholders if placeholder not in template]
        if missing:
            yield f"{_said(settings, name)}, without {' and '.join(missing)}; the names of two topics would be one."
        elif not is_topic_name(example) or template == "{topic}":
            yield (
                f"{_said(settings, name)}, which gives no name of its own that Kafka takes; allowed: letters, digits, "
                "'.', '_', '-' and {topic}, {group} (KAFKA_CONSUMER_GROUP goes into it)."
            )
    if names.dead_letter("t") == names.identity("t"):
        yield (
            f"{_said(settings, 'dead_letter_topic')} and {_said(settings, 'identity_topic')}: "
            "one topic cannot hold both; allowed: two names."
        )


def _topics(settings: Settings) -> Problems:
    if settings.topics_pattern is not None or any(_templates(settings)):
        return
    names = settings.topic_names()
    for topic in settings.kafka_topics:
        if names.is_own(topic):
            yield (
                f"KAFKA_TOPICS ({settings.origin('kafka_topics')}) names {topic}, which DEAD_LETTER_TOPIC or "
                "IDENTITY_TOPIC makes of another topic; a worker must not read what workers write."
            )
        elif max(len(names.dead_letter(topic)), len(names.identity(topic))) > MAX_TOPIC_CHARACTERS:
            yield (
                f"KAFKA_TOPICS ({settings.origin('kafka_topics')}) names {topic}, whose dead-letter or identity topic "
                f"would have a name of more than {MAX_TOPIC_CHARACTERS} characters."
            )


def _client(settings: Settings) -> Problems:
    broker_decides = settings.kafka_group_protocol is GroupProtocol.CONSUMER
    for name in settings.kafka_client:
        reason = REFUSED_PROPERTIES.get(name)
        if _CALLBACKS.fullmatch(name):
            reason = "it takes a function"
        elif broker_decides and name in _BROKER_DECIDED:
            reason = _BROKER_DECIDES
        elif name in ("sasl.mechanism", "sasl.mechanisms") and settings.kafka_sasl_mechanism is not None:
            reason = "KAFKA_SASL_MECHANISM is set too"
        elif name == "security.protocol" and (settings.kafka_tls_enabled or settings.kafka_sasl_mechanism is not None):
            reason = "it follows from KAFKA_TLS_ENABLED and KAFKA_SASL_MECHANISM"
        if reason is not None:
            yield f"KAFKA_CLIENT ({settings.origin('kafka_client')}) sets {name}, which is refused: {reason}."


def _heartbeat(settings: Settings) -> Problems:
    if settings.kafka_group_protocol is GroupProtocol.CONSUMER:
        return
    defaults = (
        ("heartbeat.interval.ms", HEARTBEAT_INTERVAL_MS),
        ("session.timeout.ms", SESSION_TIMEOUT_MS),
        ("max.poll.interval.ms", MAX_POLL_INTERVAL_MS),
    )
    origin = settings.origin("kafka_client")
    found: list[int] = []
    for name, default in defaults:
        value = settings.kafka_client.get(name, default)
        if isinstance(value, bool) or not re.fullmatch(r"\d+", str(value)):
            yield f"KAFKA_CLIENT ({origin}) sets {name} to no whole number of milliseconds."
            return
        found.append(int(value))
    heartbeat_ms, session_ms, poll_ms = found
    if heartbeat_ms >= session_ms:
        yield (
            f"KAFKA_CLIENT ({origin}): heartbeat.interval.ms is {heartbeat_ms} and session.timeout.ms {session_ms}; "
            "allowed: the first less than the second, better a third of it."
        )
    if poll_ms < session_ms:
        yield (
            f"KAFKA_CLIENT ({origin}): max.poll.interval.ms is {poll_ms} and session.timeout.ms {session_ms}; "
            "allowed: the first at least the second."
        )


def _tls(settings: Settings) -> Problems:
    files = ("kafka_tls_ca_file", "kafka_tls_cert_file", "kafka_tls_key_file")
    given = [name for name in files if getattr(settings, name) is not None]
    if given and not settings.kafka_tls_enabled:
        names = ", ".join(name.upper() for name in given)
        yield f"{names} without KAFKA_TLS_ENABLED=true would change nothing; set it, or leave the files out."
    if (settings.kafka_tls_cert_file is None) != (settings.kafka_tls_key_file is None):
        yield "KAFKA_TLS_CERT_FILE and KAFKA_TLS_KEY_FILE belong together; only one of them is set."
    for name in given:
        if problem := _unreadable(getattr(settings, name)):
            yield f"{_said(settings, name)}, {problem}; allowed: a PEM file this process may read."


def _unreadable(path: Path) -> str | None:
    if not path.is_file():
        return "which is no file"
    return None if os.access(path, os.R_OK) else "which this process may not read"


def _sasl(settings: Settings) -> Problems:
    mechanism = settings.kafka_sasl_mechanism
    login = {
        "KAFKA_SASL_USERNAME": settings.kafka_sasl_username,
        "KAFKA_SASL_PASSWORD": settings.kafka_sasl_password,
    }
    missing = [name for name, value in login.items() if value is None]
    given = [name for name, value in login.items() if value is not None]
    if mechanism is not None and missing:
        yield f"{_said(settings, 'kafka_sasl_mechanism')}, which needs {' and '.join(missing)}."
    if mechanism is None and given:
        words = ", ".join(SaslMechanism)
        yield f"{' and '.join(given)} without KAFKA_SASL_MECHANISM would change nothing; allowed for it: {words}."


def _registry(settings: Settings) -> Problems:
    login = (settings.schema_registry_username, settings.schema_registry_password)
    if settings.schema_registry_url is None and login != (None, None):
        yield "SCHEMA_REGISTRY_USERNAME or SCHEMA_REGISTRY_PASSWORD without SCHEMA_REGISTRY_URL would change nothing."
    elif (login[0] is None) != (login[1] is None):
        yield "SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD belong together; only one of them is set."


def _schema_dir(settings: Settings) -> Problems:
    if not settings.schema_dir.is_dir():
        yield f"{_said(settings, 'schema_dir')}, which is no folder; allowed: a folder of *.avsc files."


class Check(NamedTuple):
    reads: tuple[str, ...]
    find: Callable[[Settings], Problems]


CHECKS = (
    Check(("consent_categories",), _consent),
    Check(("retry_initial_seconds", "retry_max_seconds"), _retries),
    Check(("retry_max_seconds", "give_up_after_seconds"), _giving_up),
    Check(("request_timeout_seconds",), _request_timeout),
    Check(("event_max_bytes", "batch_max_bytes"), _sizes),
    Check(("dead_letter_topic", "identity_topic", "kafka_consumer_group"), _templates),
    Check(("dead_letter_topic", "identity_topic", "kafka_consumer_group", "kafka_topics"), _topics),
    Check(("kafka_client", "kafka_group_protocol", "kafka_tls_enabled", "kafka_sasl_mechanism"), _client),
    Check(("kafka_client", "kafka_group_protocol"), _heartbeat),
    Check(("kafka_tls_enabled", "kafka_tls_ca_file", "kafka_tls_cert_file", "kafka_tls_key_file"), _tls),
    Check(("kafka_sasl_mechanism", "kafka_sasl_username", "kafka_sasl_password"), _sasl),
    Check(("schema_registry_url", "schema_registry_username", "schema_registry_password"), _registry),
    Check(("schema_dir",), _schema_dir),
)
