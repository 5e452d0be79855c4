"""Events that keep coming whatever the brokers do, each produced once. No assertions in here."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import confluent_kafka
from confluent_kafka import KafkaError, Producer

from tests.integration.cluster import Stored
from tests.integration.signals import signal
from worker.core.records import Record


class Traffic:
    """For as long as its block lasts: `evt_0`, `evt_1`, ... to the partitions in turn, in order within each.

    `produced` is whole after the block, which ends when the brokers have taken everything. Raises RuntimeError there
    where they have not.
    """

    def __init__(self, bootstrap_servers: str, topic: str, partitions: int, per_second: float) -> None:
        self._topic = topic
        self._partitions = partitions
        self._interval_seconds = 1 / per_second
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "linger.ms": 5,
                "message.timeout.ms": 300_000,
                "log_level": 0,
            }
        )
        self._errors: list[KafkaError] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._produce, name="traffic")
        self.produced: list[Stored] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        left = self._producer.flush(120)
        if error is None and (left or self._errors):
            raise RuntimeError(f"{left} events were not taken by the brokers; {self._errors[:3]}")

    def _produce(self) -> None:
        number = 0
        while not self._stop.wait(self._interval_seconds):
            value = signal(f"evt_{number}", f"df_{number % 100}", properties={"padding": "x" * 200}).value or b""
            partition = number % self._partitions
            self._producer.produce(self._topic, value=value, partition=partition, on_delivery=self._noting(value))
            self._producer.poll(0)
            number += 1

    def _noting(self, value: bytes) -> Callable[[KafkaError | None, confluent_kafka.Message], None]:
        def note(error: KafkaError | None, message: confluent_kafka.Message) -> None:
            if error is not None:
                self._errors.append(error)
                return
            record = Record(message.offset() or 0, message.timestamp()[1], None, value, ())
            self.produced.append(Stored(self._topic, message.partition() or 0, record))

        return note
