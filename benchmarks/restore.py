"""How fast visitors are read back from the identity log, and what one takes in memory.

Run as `python -m benchmarks.restore BROKERS TOPIC VISITORS` on a topic whose log is full: prints seconds and bytes as
JSON. A process of its own, so that its memory is nobody else's.
"""

import json
import queue
import sys
import time
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from worker.cluster import Cluster
from worker.core.identity import IdentityChange
from worker.core.records import TopicPartition
from worker.core.start_offsets import Start
from worker.identity_entries import headers_of
from worker.identity_log import IdentityLog, LogFinding, Restored
from worker.scout import Place
from worker.topics import TopicNames

GROUP = "benchmark"
TTL_MS = 400 * 86_400_000
PATIENCE_SECONDS = 120


def names(topic: str) -> TopicNames:
    return TopicNames((topic,), GROUP, dead_letter="{topic}.dead-letters", identity="{group}.{topic}.identity")


def fill(brokers: str, topic: str, visitors: int) -> None:
    """Makes the topic and its log, and an entry for each visitor: three traits of ordinary length."""
    admin = AdminClient({"bootstrap.servers": brokers})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(20)
    cluster = Cluster({"bootstrap.servers": brokers})
    log = names(topic).identity(topic)
    cluster.make_identity_topic(topic, log, TTL_MS)
    topic_id = cluster.topic_ids([topic])[topic]
    producer = Producer(
        {"bootstrap.servers": brokers, "linger.ms": 20, "queue.buffering.max.messages": 2_000_000, "log_level": 2}
    )
    for number in range(visitors):
        traits = (
            f'{{"email":"visitor-{number}@example.com","name":"Visitor {number}","company":"Example {number % 9999}"}}'
        )
        state = f'["user-{number}",1780744274000,{traits}]'.encode()
        change = IdentityChange(number, f"a:df_{number:08x}", state)
        producer.produce(log, state, change.visitor.encode(), 0, headers=list(headers_of(change, topic_id)))
        producer.poll(0)
    if producer.flush(120):
        raise TimeoutError("not all entries were written within two minutes")


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main() -> None:
    brokers, topic, visitors = sys.argv[1], sys.argv[2], int(sys.argv[3])
    properties = {"bootstrap.servers": brokers, "log_level": 2}
    found: queue.SimpleQueue[LogFinding] = queue.SimpleQueue()
    log = IdentityLog(properties, names(topic), GROUP, Cluster(properties), TTL_MS, found.put, time.monotonic)
    before, started = resident_bytes(), time.monotonic()
    log.restore([Place(TopicPartition(topic, 0), 1, Start(visitors, visitors), None)])
    while not isinstance(finding := found.get(timeout=PATIENCE_SECONDS), Restored):
        pass
    seconds = time.monotonic() - started
    log.close()
    known = len(finding.visitors[0].restoration.known.states)
    assert known == visitors, f"{known} of {visitors} visitors are known"
    print(json.dumps({"seconds": seconds, "bytes_a_visitor": (resident_bytes() - before) / visitors}))


if __name__ == "__main__":
    main()
