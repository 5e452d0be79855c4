"""Three brokers with replication 3, of which one may die at any time, and leaders that move when told to.

Every broker is a controller as well, so one of three may be missing, and no second one. No assertions in here.
"""

import os
import signal
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from confluent_kafka import ElectionType, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from worker.demo.broker import EmbeddedKafka, free_port

_SHARED = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
    # a stock cluster takes 9 and 30 s to miss a broker
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "replica.lag.time.max.ms": "3000",
    # who leads is for the tests to say
    "auto.leader.rebalance.enable": "false",
}


class ThreeBrokers:
    """Brokers are numbered 1, 2 and 3."""

    def __init__(self, folder: Path, java: Path) -> None:
        self._folder = folder
        self._java = java
        self._ports = {number: free_port() for number in (1, 2, 3)}
        self._controllers = {number: free_port() for number in (1, 2, 3)}
        self._brokers: dict[int, EmbeddedKafka] = {}
        self._turns = 0
        self.bootstrap_servers = ",".join(f"127.0.0.1:{port}" for port in self._ports.values())

    def __enter__(self) -> Self:
        try:
            # none of them answers before two of them do
            with ThreadPoolExecutor(3) as pool:
                list(pool.map(self.start, self._ports))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for number in list(self._brokers):
            self.kill(number)

    def start(self, number: int) -> None:
        """Returns when it answers, with all that it had when it was killed."""
        port, controller = self._ports[number], self._controllers[number]
        voters = ",".join(f"{other}@127.0.0.1:{at}" for other, at in self._controllers.items())
        properties = {
            **_SHARED,
            "node.id": str(number),
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        }
        folder = self._folder / str(number)
        self._brokers[number] = EmbeddedKafka.start(folder, java=self._java, port=port, properties=properties)

    def kill(self, number: int) -> None:
        """SIGKILL: a clean stop of the last ones would wait for a quorum."""
        broker = self._brokers.pop(number)
        os.kill(broker.pid, signal.SIGKILL)
        broker.stop()

    def move_leaders(self, topic: str, partitions: int) -> None:
        """Every partition gets another leader, if the one whose turn it is lives. Raises OSError or KafkaException."""
        self._turns += 1
        orders = [[(self._turns + partition + place) % 3 + 1 for place in range(3)] for partition in range(partitions)]
        port = self._ports[next(iter(self._brokers))]
        _reassign(port, topic, orders)
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        parts = [TopicPartition(topic, partition) for partition in range(partitions)]
        admin.elect_leaders(ElectionType.PREFERRED, parts).result(timeout=4)


def _reassign(port: int, topic: str, orders: list[list[int]]) -> None:
    """AlterPartitionReassignments (key 45, version 0), which the Python client does not have: the same replicas in
    another order, the first of which is the preferred leader.
    """
    name = topic.encode()
    partitions = b"".join(
        struct.pack(">iB", partition, len(order) + 1) + struct.pack(f">{len(order)}i", *order) + b"\0"
        for partition, order in enumerate(orders)
    )
    # lengths in the compact form are one more than they are; each structure ends with its number of tagged fields
    topics = bytes([2, len(name) + 1]) + name + bytes([len(orders) + 1]) + partitions + b"\0"
    request = struct.pack(">hhihB", 45, 0, 1, -1, 0) + struct.pack(">i", 2_000) + topics + b"\0"
    with socket.create_connection(("127.0.0.1", port), timeout=3) as wire:
        wire.sendall(struct.pack(">i", len(request)) + request)
        # size, correlation id, no tagged fields, throttle time, error code
        head = b""
        while len(head) < 15:
            if not (more := wire.recv(1024)):
                raise OSError("the broker hung up")
            head += more
    (error,) = struct.unpack(">h", head[13:15])
    if error:
        raise OSError(f"the leaders of {topic} were not moved: Kafka's error {error}")


def leaders(bootstrap_servers: str, topic: str) -> dict[int, int]:
    """By partition, the number of the broker that leads it; -1 where none does."""
    try:
        admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
        known = admin.list_topics(topic, timeout=5).topics[topic].partitions
    except KafkaException:
        return {}
    return {partition: about.leader for partition, about in known.items()}
