import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.cluster import Cluster, Message
from tests.integration.harness import wait_until
from worker.demo.broker import EmbeddedKafka, accepts_connections
from worker.demo.jars import BrokerUnavailableError, find_java

HEADERS = (("dl-reason", b"rejected"), ("empty", b""))


def test_what_is_produced_is_read_back_with_key_headers_and_timestamp(cluster: Cluster, topic: str) -> None:
    cluster.produce(topic, [Message(b"value", key=b"df_1", headers=HEADERS, timestamp_ms=1_780_744_274_000)])

    (stored,) = cluster.read_topic(topic)

    assert (stored.record.key, stored.record.value) == (b"df_1", b"value")
    assert stored.record.headers == HEADERS
    assert stored.record.timestamp_ms == 1_780_744_274_000


def test_one_key_stays_in_one_partition_and_in_order(cluster: Cluster) -> None:
    topic = cluster.make_topic(partitions=4)
    cluster.produce(topic, [Message(str(n).encode(), key=f"df_{n % 8}".encode()) for n in range(80)])

    of_one = [stored for stored in cluster.read_topic(topic) if stored.record.key == b"df_3"]

    assert len({stored.partition for stored in of_one}) == 1
    assert [int(stored.record.value or b"") for stored in of_one] == list(range(3, 80, 8))


def test_end_offsets_count_every_partition(cluster: Cluster) -> None:
    topic = cluster.make_topic(partitions=2)
    cluster.produce(topic, [Message(b"", partition=1), Message(None, partition=1)])

    assert cluster.end_offsets(topic) == {0: 0, 1: 2}


def test_a_group_that_never_was_has_committed_nothing(cluster: Cluster, topic: str, group: str) -> None:
    assert cluster.committed(group, topic) == {}


def test_a_topic_that_is_not_there_reads_as_empty_and_is_not_made_by_reading(cluster: Cluster) -> None:
    nowhere = cluster.unique("nowhere")

    assert cluster.read_topic(nowhere) == []
    assert nowhere not in cluster.topics()


def test_a_stopped_broker_leaves_neither_process_nor_data(kafka: str) -> None:
    with EmbeddedKafka.start(java=find_java(os.environ)) as broker:
        assert broker.log.exists()

    assert not broker.folder.exists()
    assert not accepts_connections(broker.bootstrap_servers)


def test_a_kept_folder_holds_its_records_over_a_restart(kafka: str, tmp_path: Path) -> None:
    java = find_java(os.environ)
    with EmbeddedKafka.start(tmp_path / "kept", java=java) as broker:
        cluster = Cluster(broker.bootstrap_servers)
        topic = cluster.make_topic()
        cluster.produce(topic, [Message(b"still here")])

    with EmbeddedKafka.start(tmp_path / "kept", java=java) as broker:
        values = [stored.record.value for stored in Cluster(broker.bootstrap_servers).read_topic(topic)]

    assert values == [b"still here"]


def test_the_broker_and_its_data_go_when_its_parent_is_killed(kafka: str) -> None:
    code = (
        "import os, sys; from worker.demo.broker import EmbeddedKafka; from worker.demo.jars import find_java\n"
        "broker = EmbeddedKafka.start(java=find_java(os.environ))\n"
        "print(broker.bootstrap_servers, broker.folder, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        bootstrap_servers, folder = parent.stdout.readline().split()
        assert accepts_connections(bootstrap_servers)
        parent.kill()

    wait_until(lambda: not accepts_connections(bootstrap_servers), 10, "the broker is gone")
    wait_until(lambda: not Path(folder).exists(), 10, "its data is gone")


def test_a_broker_that_cannot_start_says_why_and_leaves_nothing(kafka: str, tmp_path: Path) -> None:
    with pytest.raises(BrokerUnavailableError, match=r"num\.io\.threads"):
        EmbeddedKafka.start(tmp_path / "broken", java=find_java(os.environ), properties={"num.io.threads": "none"})


def test_a_java_that_is_not_there_is_named(kafka: str) -> None:
    with pytest.raises(BrokerUnavailableError, match="/nowhere/java"):
        EmbeddedKafka.start(java=Path("/nowhere/java"))


def test_jars_that_cannot_be_fetched_say_what_to_do(tmp_path: Path) -> None:
    unreachable = {"M2_REPO": str(tmp_path / "m2"), "HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": ""}
    command = [sys.executable, "-m", "worker.demo.jars"]
    fetched = subprocess.run(command, env={**os.environ, **unreachable}, capture_output=True, text=True, check=False)

    assert fetched.returncode == 1
    assert "could not be fetched" in fetched.stderr
    assert "KAFKA_BROKERS_FOR_TESTS" in fetched.stderr
