"""Records that nobody meant to send: a flood of garbage, a producer gone wrong, one as large as a topic takes."""

from tests.fakes import delivered_ids
from tests.integration.cluster import Cluster, Message
from tests.integration.fixtures import StartWorker
from tests.integration.harness import wait_until
from tests.integration.signals import ids, signal, signals
from tests.integration.test_delivery import settled
from worker.sandbox import Sandbox


def test_a_flood_of_garbage_becomes_dead_letters_in_bounded_memory(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    cluster.produce(topic, [Message(b"not Avro %d" % number) for number in range(60_000)])
    cluster.produce(topic, signals(10))
    worker = start_worker(
        KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url, REJECTION_LIMIT="0"
    )
    wait_until(lambda: settled(cluster, group, topic), 100, "all is committed")
    worker.wait_outcomes({("delivered", ""): 10, ("dead_lettered", "undecodable"): 60_000})
    assert worker.metrics().value("commits_total", result="error") == 0
    assert delivered_ids(sandbox) == dict.fromkeys(ids(10), 1)
    offsets = [letter.headers["dl-offset"] for letter in cluster.read_topic(f"{topic}.dead-letters")]
    assert sorted(map(int, offsets)) == list(range(60_000))
    assert len(worker.logged("record.dead_lettered")) < 100, "a line a second, not one each"


def test_too_many_undecodable_records_in_a_row_hold_until_one_decodes(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    cluster.produce(topic, [Message(b"not Avro")] * 25)
    worker = start_worker(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url)
    wait_until(lambda: worker.is_held("undecodable"), 40, "the hold")
    wait_until(lambda: cluster.committed(group, topic) == {0: 10}, 10, "ten are dead letters, the others wait")
    assert any("REJECTION_LIMIT=0" in reason for reason in worker.ready_reasons())
    cluster.produce(topic, [signal("evt_0")])
    wait_until(lambda: settled(cluster, group, topic), 30, "all is committed")
    worker.wait_outcomes({("delivered", ""): 1, ("dead_lettered", "undecodable"): 25})


def test_the_largest_record_a_topic_takes_fits_into_the_dead_letter_topic(
    cluster: Cluster, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    topic = cluster.make_topic(max_message_bytes="2000000")
    largest = Message(b"x" * 1_999_900)
    cluster.produce(topic, [largest])
    worker = start_worker(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url)
    wait_until(lambda: settled(cluster, group, topic), 40, "it is committed")
    [letter] = cluster.read_topic(f"{topic}.dead-letters")
    assert letter.record.value == largest.value
    assert worker.terminate() == 0
