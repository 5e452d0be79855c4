"""Producers of transactions: how they are made, how they are asked, and what their refusals mean. No transaction is
begun or ended in here.
"""

import queue
import threading
from collections.abc import Mapping
from logging import getLogger
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import TopicPartition as KafkaPartition

from worker.complaints import in_short
from worker.core.outcomes import HoldReason
from worker.errors import KafkaUnavailableError, RightMissingError, SettingsError

TRANSACTION_TIMEOUT_MS = 5_000
# After how long a step has failed; above the transaction's time-out, after which the broker ends it anyway.
STEP_TIMEOUT_SECONDS = 6.0
# ... and how much later the client may be about it.
GRACE_SECONDS = 2.0

# A transaction has its own, and the client refuses others above it.
_TIMEOUTS = ("socket.timeout.ms", "message.timeout.ms", "delivery.timeout.ms", "request.timeout.ms")

_NOT_ALLOWED = frozenset(
    {
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
    }
)


class RefusedError(Exception):
    """Retry: the transaction was aborted or never begun. `refusal` None: a passing fault; else what the lanes are held
    for, until somebody mends what the message says.
    """

    def __init__(self, refusal: HoldReason | None, detail: str) -> None:
        super().__init__(detail)
        self.refusal = refusal


class OffsetsLostError(RefusedError):
    """Retry, with a new producer: nobody knows what has become of the offsets."""


def try_transactional_id(properties: Mapping[str, Any], group: str, timeout_seconds: float) -> None:
    """Registers a transactional id of the group's, as a worker does before its first commit, and writes nothing.

    Always the same id, so that the coordinator has one to remember however often somebody tries. Raises
    RightMissingError, KafkaUnavailableError, or SettingsError where the client takes the properties for wrong.
    """
    try:
        producer = transactional_producer(properties, f"{group}-check")
    except KafkaException as error:
        raise SettingsError([f"KAFKA_CLIENT: {error.args[0].str()}"]) from error
    try:
        producer.init_transactions(timeout_seconds)
    except KafkaException as error:
        kind = RightMissingError if error.args[0].code() in _NOT_ALLOWED else KafkaUnavailableError
        raise kind(error.args[0].str()) from error


def transactional_producer(properties: Mapping[str, Any], transactional_id: str) -> Producer:
    """Talks to nobody yet."""
    shared = {name: value for name, value in properties.items() if name not in _TIMEOUTS}
    return Producer(
        {
            # back to back, the coordinator answers CONCURRENT_TRANSACTIONS and the producer waits this long
            "retry.backoff.ms": 5,
            "linger.ms": 0,
            # the broker and the topic decide what is too large, not the client
            "message.max.bytes": 1_000_000_000,
            **shared,
            "transactional.id": transactional_id,
            "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
        },
        logger=getLogger("librdkafka"),
    )


def send_offsets(producer: Producer, offsets: list[KafkaPartition], group_metadata: object) -> None:
    """On a thread of its own: where the coordinator moves, the client does not keep its time-out (2.16), and the call
    never returns. It is left behind with its producer; the broker ends that transaction, which nobody commits.

    Raises KafkaException, or OffsetsLostError.
    """
    ended: queue.SimpleQueue[KafkaException | None] = queue.SimpleQueue()

    def send() -> None:
        try:
            producer.send_offsets_to_transaction(offsets, group_metadata, STEP_TIMEOUT_SECONDS)
        except KafkaException as error:
            ended.put(error)
        else:
            ended.put(None)

    threading.Thread(target=send, name="offsets", daemon=True).start()
    try:
        error = ended.get(timeout=STEP_TIMEOUT_SECONDS + GRACE_SECONDS)
    except queue.Empty:
        detail = "the coordinator's answer to the offsets is lost; a new producer tries again"
        raise OffsetsLostError(None, detail) from None
    if error is not None:
        raise error


def refused_for(error: KafkaError) -> RefusedError:
    if error.code() in _NOT_ALLOWED:
        return RefusedError(
            HoldReason.COMMIT_REFUSED,
            f"not allowed: {in_short(error.str())}; the README lists the ACLs the worker needs",
        )
    return RefusedError(None, f"{error.name()}: {in_short(error.str())}")
