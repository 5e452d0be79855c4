"""`identity` beside a worker, on real Kafka: what is known of a visitor, and how it is forgotten."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from tests.builders_avro import confluent, encode, shipped_schema
from tests.integration.cluster import Cluster, Message
from tests.integration.commands import Command, Ended, command
from tests.integration.fixtures import StartWorker
from tests.integration.harness import WorkerProcess, wait_until
from tests.integration.registry import Registry
from tests.integration.signals import MOMENT, signal
from tests.integration.test_check import allow_only
from tests.integration.test_delivery import settled
from tests.integration.test_identity_log import JANE, VISITOR, identify, log_of
from worker.demo.broker import EmbeddedKafka, free_port
from worker.demo.jars import find_java
from worker.identity_entries import headers_by_hand
from worker.sandbox import Sandbox

NO_AVRO = b"no Avro"


Identity = Command


@pytest.fixture
def identity(
    cluster: Cluster, topic: str, group: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Identity:
    """Runs the command with these words, for the test's topic and group unless the settings say otherwise."""
    usual = {"KAFKA_TOPICS": topic, "KAFKA_CONSUMER_GROUP": group}
    return command(["identity"], cluster, usual, monkeypatch, capsys)


@pytest.fixture
def start(topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker) -> Callable[..., WorkerProcess]:
    def started(**settings: str) -> WorkerProcess:
        usual = {"KAFKA_TOPICS": topic, "KAFKA_CONSUMER_GROUP": group, "DREAMDATA_URL": sandbox.url}
        return start_worker(**{**usual, **settings})

    return started


@pytest.fixture
def traits(cluster: Cluster, topic: str, group: str, sandbox: Sandbox) -> Callable[[], dict[str, object]]:
    """Waits until all is committed; then what every event was delivered with."""

    def delivered() -> dict[str, object]:
        wait_until(lambda: settled(cluster, group, topic), 60, "all is committed")
        return {event.message_id: event.item.get("traits") for event in sandbox.ledger.events()}

    return delivered


def make_log(cluster: Cluster, group: str, topic: str, partitions: int = 1) -> None:
    cluster.make_topic(partitions, log_of(group, topic), cleanup_policy="compact,delete")


Start = Callable[..., WorkerProcess]
Traits = Callable[[], dict[str, object]]


def test_what_is_known_is_shown_masked_unless_asked(
    cluster: Cluster, topic: str, start: Start, traits: Traits, identity: Identity
) -> None:
    start()
    cluster.produce(topic, [identify("evt_0", userId="user-123"), signal("evt_1", VISITOR)])
    traits()

    masked = identity("show", VISITOR)
    assert masked.code == 0
    assert "j***@a***.com" in masked.out
    assert not any(word in masked.out for word in ("jane", "Jane", "Acme", "user-123"))
    revealed = identity("show", VISITOR, "--reveal")
    assert all(word in revealed.out for word in ("jane.doe@acme.com", "Jane Doe", "Acme Inc", "user-123"))

    [line] = identity("show", VISITOR, "--json", "--reveal", "--topic", topic).lines
    assert line == {
        "topic": topic,
        "partition": 0,
        "visitor": f"a:{VISITOR}",
        "known": True,
        "userId": "user-123",
        "identifiedAt": "2026-06-06T11:11:14.000Z",
        "traits": JANE,
        "sourceOffset": 0,
        "entries": 1,
        "forgottenUntil": None,
    }
    [line] = identity("show", VISITOR, "--json").lines
    assert line["traits"] == {"email": "j***@a***.com", "name": "J***", "company": "A***"}


def test_what_is_shown_is_what_a_worker_would_know_that_starts_now(
    cluster: Cluster, topic: str, group: str, start: Start, traits: Traits, identity: Identity
) -> None:
    worker = start()
    cluster.produce(topic, [identify("evt_0", {"email": "old@acme.com"})])
    traits()
    cluster.produce(topic, [identify("evt_1", {"email": "new@acme.com"})])
    traits()
    worker.terminate()
    [line] = identity("show", VISITOR, "--json", "--reveal").lines
    assert (line["traits"], line["sourceOffset"], line["entries"]) == ({"email": "new@acme.com"}, 1, 2)

    cluster.commit(group, topic, {0: 1})
    [line] = identity("show", VISITOR, "--json", "--reveal").lines
    assert (line["traits"], line["sourceOffset"], line["entries"]) == ({"email": "old@acme.com"}, 0, 2)


def test_a_userid_is_another_name_space_and_leads_to_those_known_by_it(
    cluster: Cluster, topic: str, start: Start, traits: Traits, identity: Identity
) -> None:
    start()
    nobody: dict[str, Any] = {"anonymousId": None, "userId": "x"}
    cluster.produce(
        topic,
        [
            identify("evt_0", {"email": "of-user-x@acme.com"}, **nobody),
            identify("evt_1", {"email": "of-anonymous-x@acme.com"}, "x"),
            identify("evt_2", {"email": "at-home@acme.com"}, "df_home", userId="x"),
            identify("evt_3", {"email": "shared@acme.com"}, "df_shared", userId="x"),
            identify("evt_4", {"email": "shared@acme.com"}, "df_shared", userId="y"),
        ],
    )
    traits()

    by_user = identity("show", "x", "--user-id", "--json", "--reveal")
    assert [line["traits"] for line in by_user.lines] == [{"email": "of-user-x@acme.com"}]
    assert "known by their anonymousId: df_home. " in by_user.err
    by_anonymous = identity("show", "x", "--json", "--reveal")
    assert [line["traits"] for line in by_anonymous.lines] == [{"email": "of-anonymous-x@acme.com"}]

    assert identity("forget", "x", "--user-id", "--yes").code == 0
    cluster.produce(topic, [signal("evt_5", None, userId="x"), signal("evt_6", "x")])
    assert (traits()["evt_5"], traits()["evt_6"]) == (None, {"email": "of-anonymous-x@acme.com"})


def test_who_is_forgotten_is_forgotten_at_once_and_after_a_restart(
    cluster: Cluster, topic: str, group: str, start: Start, traits: Traits, identity: Identity
) -> None:
    worker = start()
    cluster.produce(topic, [identify("evt_0"), signal("evt_1", VISITOR)])
    assert traits()["evt_1"] == JANE

    forgotten = identity("forget", VISITOR, "--yes")
    assert forgotten.code == 0
    assert f"{log_of(group, topic)}[0]@" in forgotten.out
    assert f"forgotten, with all that lies before offset 2 of {topic}[0]" in forgotten.out
    assert "after 7 days at the latest (max.compaction.lag.ms)" in forgotten.out
    wait_until(lambda: worker.logged("visitor.forgotten"), 30, "the owner has heard of it")
    cluster.produce(topic, [signal("evt_2", VISITOR)])
    assert traits()["evt_2"] is None
    worker.terminate()

    assert identity("show", VISITOR).code == 3
    [line] = identity("show", VISITOR, "--json").lines
    assert (line["known"], line["traits"], line["forgottenUntil"]) == (False, {}, 2)
    start()
    cluster.produce(topic, [signal("evt_3", VISITOR), identify("evt_4"), signal("evt_5", VISITOR)])
    assert (traits()["evt_3"], traits()["evt_5"]) == (None, JANE)
    assert identity("show", VISITOR).code == 0


def test_what_no_worker_has_read_yet_is_not_learned_after_it_was_forgotten(
    cluster: Cluster, topic: str, start: Start, traits: Traits, identity: Identity
) -> None:
    worker = start()
    cluster.produce(topic, [signal("evt_0", VISITOR)])
    traits()
    worker.terminate()
    cluster.produce(topic, [identify("evt_1"), signal("evt_2", VISITOR)])

    forgotten = identity("forget", VISITOR, "--yes")
    assert (forgotten.code, f"a:{VISITOR} is not known in {topic}." in forgotten.out) == (0, True)
    cluster.produce(topic, [signal("evt_3", VISITOR)])
    start()
    assert (traits()["evt_2"], traits()["evt_3"]) == (None, None)


def test_every_partition_is_told(cluster: Cluster, group: str, identity: Identity) -> None:
    topic = cluster.make_topic(partitions=3)
    make_log(cluster, group, topic, partitions=3)
    cluster.produce(topic, [Message(signal("evt_0").value, partition=2)])

    identity("forget", VISITOR, "--yes", KAFKA_TOPICS=topic)
    stones = cluster.read_topic(log_of(group, topic))
    assert [(stone.partition, stone.record.key, stone.record.value) for stone in stones] == [
        (partition, f"a:{VISITOR}".encode(), None) for partition in range(3)
    ]
    assert [stone.headers["operator"] for stone in stones] == ["0", "0", "1"]


def test_dead_letters_that_still_hold_the_visitor_are_named(
    cluster: Cluster, topic: str, start: Start, traits: Traits, identity: Identity
) -> None:
    start(REJECTION_LIMIT="0")
    nameless = signal("evt_0", VISITOR, event=None)
    cluster.produce(
        topic,
        [
            Message(NO_AVRO, VISITOR.encode()),
            Message(nameless.value, b"another key"),
            Message(NO_AVRO, b"df_other"),
            signal("evt_3", "df_other", event=None, userId=VISITOR),
        ],
    )
    traits()

    forgotten = identity("forget", VISITOR, "--yes")
    assert forgotten.code == 3
    letters = f"{topic}.dead-letters"
    said = [" ".join(line.split()) for line in forgotten.out.splitlines() if line.startswith("  ")]
    assert said == [
        f"{letters}[0]@0 undecodable (from {topic}[0]@0)",
        f"{letters}[0]@1 invalid-event (from {topic}[0]@1)",
        "1 other could not be read, so that only the record's key says it is not this visitor's",
    ]
    by_user = identity("forget", VISITOR, "--user-id", "--yes")
    assert f"{letters}[0]@3  invalid-event" in by_user.out


def test_dead_letters_are_read_with_the_registry_s_schemas_as_far_as_it_answers(
    cluster: Cluster,
    topic: str,
    start: Start,
    traits: Traits,
    identity: Identity,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    registry = Registry.start(tmp_path_factory.mktemp("registry"))
    try:
        with SchemaRegistryClient({"url": registry.url}) as client:
            schema_id = client.register_schema(f"{topic}-value", Schema(json.dumps(shipped_schema()), "AVRO"))
        event = {"type": "track", "messageId": "evt_0", "anonymousId": VISITOR, "timestamp": MOMENT}
        event["context"] = {"consent": {"analytics": True, "marketing": True}}
        start(SCHEMA_REGISTRY_URL=registry.url)
        cluster.produce(topic, [Message(confluent(schema_id, encode(shipped_schema(), event)))])
        traits()
        named = f"{topic}.dead-letters[0]@0  invalid-event"
        assert named in identity("forget", VISITOR, "--yes", SCHEMA_REGISTRY_URL=registry.url).out
    finally:
        registry.stop()
    silent = identity("forget", VISITOR, "--yes", SCHEMA_REGISTRY_URL=f"http://127.0.0.1:{free_port()}")
    assert (silent.code, named in silent.out, "1 other could not be read" in silent.out) == (0, False, True)


def test_a_pattern_means_all_topics_it_matches_and_one_without_a_log_is_said(
    cluster: Cluster, group: str, identity: Identity
) -> None:
    family = cluster.unique("family")
    served, other = cluster.make_topic(name=f"{family}-a"), cluster.make_topic(name=f"{family}-b")
    make_log(cluster, group, served)

    forgotten = identity("forget", VISITOR, "--yes", KAFKA_TOPICS=f"^{family}-.*")
    assert forgotten.code == 3
    assert f"before offset 0 of {served}[0]" in forgotten.out
    assert f"{log_of(group, other)} lacks partition 0 of {other}" in forgotten.err
    assert log_of(group, other) not in cluster.topics(), "nothing is made"
    assert identity("forget", VISITOR, "--yes", "--topic", served, KAFKA_TOPICS=f"^{family}-.*").code == 0


@pytest.mark.parametrize(
    ("words", "settings", "code", "said"),
    [
        pytest.param(["show", "nobody"], {}, 3, "Nothing is known of a:nobody", id="unknown"),
        pytest.param(["show", "nobody"], {"KAFKA_CONSUMER_GROUP": "other"}, 2, "other.{topic}.identity", id="no-log"),
        pytest.param(["show", "x", "--topic", "nope"], {}, 2, "no topic nope", id="no-topic"),
        pytest.param(["show", "x", "--topic", "a.dead-letters"], {}, 2, "worker's own", id="own-topic"),
        pytest.param(["show", "x"], {"KAFKA_TOPICS": "^nope-.*"}, 2, "no topic matches", id="pattern-without-topics"),
        pytest.param(["show", ""], {}, 2, "ID is empty", id="empty"),
        pytest.param(["forget", "x"], {}, 2, "standard input is no terminal", id="nobody-to-ask"),
    ],
)
def test_what_cannot_be_done_says_why(
    cluster: Cluster,
    topic: str,
    group: str,
    identity: Identity,
    words: list[str],
    settings: dict[str, str],
    code: int,
    said: str,
) -> None:
    make_log(cluster, group, topic)
    ended = identity(*words, **settings)
    assert (ended.code, ended.out.replace(f"a:x is not known in {topic}.\n", "")) == (code, "")
    assert said.format(topic=topic) in ended.err


def test_a_broker_that_is_down_is_said_to_be(identity: Identity) -> None:
    ended = identity("show", VISITOR, KAFKA_BROKERS=f"127.0.0.1:{free_port()}")
    assert ended.code == 1
    assert "Check KAFKA_BROKERS" in ended.err


def test_who_says_no_changes_nothing(cluster: Cluster, topic: str, group: str) -> None:
    make_log(cluster, group, topic)
    settings = {
        "KAFKA_BROKERS": cluster.bootstrap_servers,
        "KAFKA_TOPICS": topic,
        "KAFKA_CONSUMER_GROUP": group,
        "CONSENT_CATEGORIES": "analytics",
        "PATH": os.environ["PATH"],
    }
    ours, theirs = pty.openpty()
    try:
        asked = subprocess.Popen(
            [sys.executable, "-m", "worker", "identity", "forget", VISITOR],
            stdin=theirs,
            stdout=subprocess.PIPE,
            text=True,
            env=settings,
        )
        os.write(ours, b"n\n")
        said, _ = asked.communicate(timeout=60)
    finally:
        os.close(ours)
        os.close(theirs)
    assert (asked.returncode, said.endswith("Nothing was written.\n")) == (0, True)
    assert cluster.read_topic(log_of(group, topic)) == []


@pytest.fixture
def guarded() -> Iterator[Cluster]:
    """A broker on which a topic with a rule allows what the rule says, and all others everything."""
    properties = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
    }
    with EmbeddedKafka.start(java=find_java(os.environ), properties=properties) as broker:
        yield Cluster(broker.bootstrap_servers)


def test_without_the_right_to_write_nothing_is_forgotten_and_the_right_is_named(
    kafka: str, guarded: Cluster, group: str, identity: Identity
) -> None:
    topic = guarded.make_topic()
    make_log(guarded, group, topic)
    guarded.make_topic(name=f"{topic}.dead-letters")
    allow_only(guarded, "TOPIC", log_of(group, topic), "READ", "DESCRIBE")
    broker = {"KAFKA_BROKERS": guarded.bootstrap_servers, "KAFKA_TOPICS": topic}

    def refused() -> Ended | None:
        ended = identity("forget", VISITOR, "--yes", **broker)
        return ended if ended.code else None

    ended = wait_until(refused, 60, "the rule has taken effect")
    assert ended is not None
    assert ended.code == 1
    assert "this user needs WRITE and DESCRIBE on the topic" in ended.out
    assert "Not all of it was written" in ended.err


def test_an_owner_that_could_not_read_its_log_for_a_while_obeys_afterwards(
    kafka: str, guarded: Cluster, group: str, sandbox: Sandbox, start: Start
) -> None:
    topic = guarded.make_topic()
    worker = start(KAFKA_BROKERS=guarded.bootstrap_servers, KAFKA_TOPICS=topic)
    guarded.produce(topic, [identify("evt_0"), signal("evt_1", VISITOR)])
    wait_until(lambda: settled(guarded, group, topic), 60, "all is committed")
    allow_only(guarded, "TOPIC", log_of(group, topic), "WRITE", "DESCRIBE")
    wait_until(lambda: worker.logged("kafka.unavailable"), 60, "it says that it may not read its log")

    guarded.produce(log_of(group, topic), [Message(None, f"a:{VISITOR}".encode(), headers_by_hand(2, ""))])
    allow_only(guarded, "TOPIC", log_of(group, topic), "READ")
    wait_until(lambda: worker.logged("visitor.forgotten"), 60, "it has heard of it")
    guarded.produce(topic, [signal("evt_2", VISITOR)])
    wait_until(lambda: settled(guarded, group, topic), 60, "all is committed")
    assert {event.message_id: event.item.get("traits") for event in sandbox.ledger.events()} == {
        "evt_1": JANE,
        "evt_2": None,
    }
