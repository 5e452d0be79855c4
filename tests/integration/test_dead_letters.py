"""Dead letters that cannot be written: the lane holds, its offset stays, the others go on, and it mends itself."""

from confluent_kafka import Producer

from tests.fakes import delivered_ids
from tests.integration.cluster import Cluster, Message
from tests.integration.fixtures import StartWorker
from tests.integration.harness import wait_until
from tests.integration.signals import ids, signal, signals
from tests.integration.test_delivery import settled
from worker.sandbox import Sandbox


def test_a_dead_letter_that_is_refused_holds_its_lane_alone_until_it_is_taken(
    cluster: Cluster, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    topic = cluster.make_topic(partitions=2)
    letters = cluster.make_topic(name=f"{topic}.dead-letters", max_message_bytes="1000")
    poison = Message(b"not Avro " * 1_000, partition=0)
    cluster.produce(topic, [*(Message(m.value, partition=0) for m in signals(5)), poison])
    cluster.produce(topic, [Message(m.value, partition=0) for m in signals(5, prefix="behind")])
    cluster.produce(topic, [Message(m.value, partition=1) for m in signals(5, prefix="other")])
    worker = start_worker(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url)
    wait_until(lambda: worker.is_held("dead-letter-refused"), 40, "the hold")
    assert any("max.message.bytes" in str(line["detail"]) for line in worker.logged("topic.doubted"))
    wait_until(lambda: cluster.committed(group, topic).get(1) == 5, 20, "the other lane goes on")
    assert cluster.committed(group, topic).get(0, 0) <= 5, "nothing moves past the poison"
    [reason] = [reason for reason in worker.ready_reasons() if "dead-letter-refused" in reason]
    assert letters in reason
    assert "max.message.bytes" in reason

    cluster.set_config(letters, "max.message.bytes", "1000000")
    wait_until(lambda: settled(cluster, group, topic), 60, "all is committed")
    wait_until(worker.is_ready, 10, "ready again")
    [letter] = cluster.read_topic(letters)
    assert letter.record.value == poison.value
    assert delivered_ids(sandbox) == dict.fromkeys(ids(5) | ids(5, prefix="behind") | ids(5, prefix="other"), 1)


def test_a_dead_letter_topic_deleted_while_running_is_made_again(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    letters = f"{topic}.dead-letters"
    worker = start_worker(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url)
    cluster.produce(topic, [Message(b"first")])
    wait_until(lambda: settled(cluster, group, topic), 40, "the first is committed")
    cluster.delete_topic(letters)
    cluster.produce(topic, [Message(b"second"), *signals(3)])
    wait_until(lambda: settled(cluster, group, topic), 60, "all is committed")
    assert [letter.record.value for letter in cluster.read_topic(letters)] == [b"second"]
    assert cluster.config(letters)["retention.ms"] == str(30 * 24 * 60 * 60 * 1000), "not made by the broker's defaults"
    assert delivered_ids(sandbox) == dict.fromkeys(ids(3), 1)
    assert worker.terminate() == 0


def test_nothing_brings_the_workers_topics_back_but_the_worker_which_knows_how_they_have_to_be(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    """A producer that looks after the topics it has written to makes those that are gone, with the broker's defaults:
    a week's retention, and no compaction. The broker is one that allows it, as stock brokers do.
    """
    letters, log = f"{topic}.dead-letters", f"{group}.{topic}.identity"
    worker = start_worker(
        KAFKA_TOPICS=topic,
        KAFKA_CONSUMER_GROUP=group,
        DREAMDATA_URL=sandbox.url,
        KAFKA_CLIENT='{"topic.metadata.refresh.interval.ms": 200}',
    )
    cluster.produce(
        topic, [Message(b"no Avro"), signal("evt_1", type="identify", event=None, traits={"email": "jane@acme.com"})]
    )
    wait_until(lambda: settled(cluster, group, topic), 40, "both are committed")
    assert len(cluster.read_topic(letters)) == len(cluster.read_topic(log)) == 1
    witness = cluster.make_topic()
    careless = Producer({"bootstrap.servers": cluster.bootstrap_servers, "topic.metadata.refresh.interval.ms": 1000})
    careless.produce(witness, b"once")
    careless.flush(10)
    for gone in (letters, log, witness):
        cluster.delete_topic(gone)
    wait_until(lambda: witness in cluster.topics(), 30, "a producer as it is made by default makes its topic again")
    assert not {letters, log} & cluster.topics()
    worker.check_running()
