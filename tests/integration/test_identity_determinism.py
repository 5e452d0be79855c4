"""The same offsets give the same events, whatever was killed when or moved: a rough run beside a calm one."""

import json
import random

import pytest

from tests.fakes import bodies, put_faults
from tests.integration.cluster import Cluster, Message
from tests.integration.fixtures import StartWorker
from tests.integration.harness import WorkerProcess, wait_until
from tests.integration.signals import GRANTED, signal
from tests.integration.test_delivery import settled
from tests.integration.test_identity_log import identify
from worker.sandbox import Sandbox

PARTITIONS = 2
EVENTS = 6_000
KILLS = 6
QUICK_SESSION = {"session.timeout.ms": 3_000, "heartbeat.interval.ms": 500}
EAGER = {**QUICK_SESSION, "partition.assignment.strategy": "range"}
SOAK = pytest.mark.soak
# while a worker starts, so that the other leaves it something to do
SLOW = {"delay_ms": 2_000}
DENIED = {"consent": {**GRANTED, "marketing": False}}


def traffic(chance: random.Random) -> list[Message]:
    """Few visitors on shared browsers, who identify, change, lose traits and deny all the time."""
    messages: list[Message] = []
    for number in range(EVENTS):
        visitor = f"df_{chance.randrange(12)}"
        user = {"userId": f"user-{chance.randrange(3)}"} if chance.random() < 0.5 else {}
        what = chance.random()
        if what < 0.3:
            traits = {
                chance.choice(("email", "name", "company")): chance.choice((f"of {number}", f"of {number}", None))
            }
            message = identify(f"evt_{number}", traits, visitor, **user)
        elif what < 0.33:
            message = signal(f"evt_{number}", visitor, context=DENIED, **user)
        else:
            message = signal(f"evt_{number}", visitor, properties={"padding": "x" * 100}, **user)
        messages.append(Message(message.value, message.key, partition=int(visitor[3:]) % PARTITIONS))
    return messages


def wait_requests(sandbox: Sandbox, more: int) -> None:
    wanted = len(sandbox.ledger.requests()) + more
    wait_until(lambda: len(sandbox.ledger.requests()) >= wanted, 60, f"{wanted} requests")


@pytest.mark.parametrize(
    "protocol",
    [
        pytest.param({"KAFKA_CLIENT": json.dumps(QUICK_SESSION)}, id="cooperative-sticky"),
        pytest.param({"KAFKA_CLIENT": json.dumps(EAGER)}, id="eager", marks=SOAK),
        pytest.param({"KAFKA_GROUP_PROTOCOL": "consumer"}, id="kip-848", marks=SOAK),
    ],
)
def test_workers_killed_and_moved_at_random_send_what_one_left_alone_sends(
    cluster: Cluster, start_worker: StartWorker, request: pytest.FixtureRequest, protocol: dict[str, str]
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    request.node.add_report_section("call", "seed", str(seed))
    chance = random.Random(seed)
    topic = cluster.make_topic(PARTITIONS)
    cluster.produce(topic, traffic(chance))
    calm, rough = cluster.unique("calm"), cluster.unique("rough")
    cluster.set_group_config(rough, "consumer.session.timeout.ms", "3000")  # for KIP-848 the broker's to say
    with Sandbox(max_events=100_000) as left_alone, Sandbox(max_events=100_000) as battered:
        start_worker(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=calm, DREAMDATA_URL=left_alone.url)
        wait_until(lambda: settled(cluster, calm, topic), 60, "all is committed")

        def start() -> WorkerProcess:
            return start_worker(
                KAFKA_TOPICS=topic,
                KAFKA_CONSUMER_GROUP=rough,
                DREAMDATA_URL=battered.url,
                BATCH_MAX_EVENTS="20",
                **protocol,
            )

        put_faults(battered, SLOW)
        workers = [start(), start()]
        for _ in range(KILLS):
            put_faults(battered, {"delay_ms": 40})
            wait_requests(battered, chance.randint(1, 15))
            put_faults(battered, SLOW)
            victim = workers.pop(chance.randrange(2))
            end = chance.choice((victim.kill, victim.terminate))
            end()
            workers.append(start())
        assert not settled(cluster, rough, topic), "there was load until the end"
        put_faults(battered)
        wait_until(lambda: settled(cluster, rough, topic), 90, "all is committed")
        expected, sent = bodies(left_alone), bodies(battered)

    assert {message_id: len(each) for message_id, each in sent.items()} == dict.fromkeys(expected, 1)
    assert sent == expected
    identified = sum(b'"traits"' in body for bodies_of_one in sent.values() for body in bodies_of_one)
    assert len(sent) > identified > len(sent) / 3, "traits came and went"
