"""`render` beside `run`, on a real broker: the same bodies, the same outcomes, and no trace of it."""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from tests.builders_avro import confluent, encode, shipped_schema
from tests.integration import commands
from tests.integration.cluster import Cluster, Message
from tests.integration.commands import command
from tests.integration.fixtures import StartWorker
from tests.integration.harness import wait_until
from tests.integration.registry import Registry
from tests.integration.signals import MOMENT, signal, signals
from tests.integration.test_delivery import settled
from worker.client_properties import consumer_properties
from worker.core.records import TopicPartition
from worker.demo.broker import free_port
from worker.errors import KafkaUnavailableError, SettingsError
from worker.ranges import Bounds, read_range
from worker.render.expected import parsed
from worker.render.lines import SENT_AT, BodyLine, RecordLine
from worker.sandbox import Sandbox
from worker.settings import load

UNKNOWN_SCHEMA = b"\xc3\x01" + b"unknown!" + b"whatever"


class Ended(commands.Ended):
    """A `render` that has come back."""

    @property
    def records(self) -> list[RecordLine]:
        return [line for line in parsed("render", self.out.encode()) if isinstance(line, RecordLine)]

    @property
    def bodies(self) -> list[bytes]:
        return [bytes(line.body) for line in parsed("render", self.out.encode()) if isinstance(line, BodyLine)]

    @property
    def offsets(self) -> list[int]:
        return [line.offset for line in self.records]


Render = Callable[..., Ended]


@pytest.fixture
def render(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Render:
    """Runs the command with `--json`, these arguments and these settings on top of a test's usual ones."""
    run = command(["render", "--json"], cluster, {}, monkeypatch, capsys)

    def rendered(*arguments: object, **settings: str) -> Ended:
        ended = run(*arguments, **settings)
        return Ended(ended.code, ended.out, ended.err)

    return rendered


def mixed_bag() -> list[Message]:
    """Every outcome that needs no registry and no refusal, with the traits of visitors coming and going."""
    denied = {"consent": {"analytics": False}}
    jane = {"email": "jane.doe@acme.com", "name": "Jane Zoë Doe", "company": "Acme"}
    return [
        signal("early", "df_jane"),
        signal("identify", "df_jane", type="identify", event=None, userId="user-123", traits=jane),
        *signals(12, prefix="first"),
        signal("late", "df_jane", userId="user-123", properties={"price": 1.0, "list": [0, None, {"a": "ü"}]}),
        signal("somebody-else", "df_jane", userId="user-666"),
        Message(None, key=b"df_jane"),
        Message(b"not Avro"),
        Message(UNKNOWN_SCHEMA),
        signal("denied", "df_jane", context=denied),
        signal("forgotten", "df_jane", userId="user-123"),
        signal("no-consent", context={"consent": {"analytics": True, "marketing": None}}),
        signal("unmapped", event="Video Played"),
        signal("off", event="Logged In"),
        signal("renamed", event="Demo Booked"),
        signal("too-large", properties={"padding": "x" * 5_000}),
        signal("nobody", None),
        signal("page", type="page", event=None, name="Pricing", context={"page": {"url": "https://acme.com/?a=1&b=ß"}}),
        signal(None),
        *signals(30, prefix="second"),
        signal("x" * 101),
        signal("last", "df_jane"),
    ]


def test_render_shows_what_run_sends_byte_for_byte_and_counts_what_run_counts(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker, render: Render
) -> None:
    cluster.produce(topic, mixed_bag())
    cluster.produce_in_transaction(topic, signals(3, prefix="taken-back"), commit=False)
    cluster.produce_in_transaction(topic, signals(3, prefix="committed"), commit=True)
    settings = {
        "KAFKA_TOPICS": topic,
        "BATCH_MAX_BYTES": "2000",
        "EVENT_MAPPING": '{"Demo Booked": "demo_booked", "Logged In": false}',
    }
    shown = render("--from-offset", 0, "--count", 1_000, **settings)
    assert shown.code == 0, shown.err

    # longer than it takes to read a body's worth of a backlog, so that only the last body has to linger
    settings |= {"KAFKA_CONSUMER_GROUP": group, "DREAMDATA_URL": sandbox.url, "BATCH_LINGER_MS": "4000"}
    worker = start_worker(**settings)
    wait_until(lambda: settled(cluster, group, topic), 60, "all is committed")
    worker.wait_outcomes(Counter((line.outcome, line.reason) for line in shown.records))

    sent = [re.sub(rb'"sentAt":"[^"]*"', f'"sentAt":"{SENT_AT}"'.encode(), body) for body in sandbox.ledger.bodies()]
    assert shown.bodies == sent
    assert 5 < len(sent) < 20, "several batches, and no more than the sandbox keeps"
    assert {line.reason for line in shown.records} == {
        "",
        "null-value",
        "no-consent",
        "consent-denied",
        "absorbed",
        "unmapped",
        "switched-off",
        "undecodable",
        "unknown-schema",
        "invalid-event",
        "too-large",
    }
    buried = [line for line in shown.records if line.outcome == "dead_lettered"]
    letters = [letter.headers for letter in cluster.read_topic(f"{topic}.dead-letters")]
    assert [(str(line.offset), line.reason, line.stage, line.schema, line.detail) for line in buried] == [
        (letter["dl-offset"], letter["dl-reason"], letter["dl-stage"], letter.get("dl-schema"), letter["dl-detail"])
        for letter in letters
    ]


def test_render_leaves_no_trace(cluster: Cluster, topic: str, group: str, render: Render) -> None:
    cluster.produce(topic, mixed_bag())

    def visible() -> set[str]:
        # the cluster's own topic of offsets is made when any client looks for a coordinator the first time
        return {name for name in cluster.topics() if not name.startswith("__")}

    before = visible(), cluster.groups()
    assert render(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group).code == 0
    assert render("--topic", f"{topic}-missing", KAFKA_CONSUMER_GROUP=group).code == 2
    assert (visible(), cluster.groups()) == before
    assert cluster.committed(group, topic) == {}


def test_a_range_ends_at_its_count_or_at_the_end_and_says_what_it_cannot_know(
    cluster: Cluster, topic: str, render: Render
) -> None:
    identify = signal("identify", type="identify", event=None, traits={"email": "jane.doe@acme.com"})
    cluster.produce(topic, [identify, *signals(5)])
    cluster.produce_in_transaction(topic, signals(2, prefix="taken-back"), commit=False)
    part = render("--from-offset", 2, "--count", 2, KAFKA_TOPICS=topic)
    assert part.offsets == [2, 3]
    assert f"{topic}[0] holds offsets [0, 9); read from 2 on: 2 records." in part.err
    assert "Traits learned before offset 2 are not known here" in part.err
    assert render("--count", 5, KAFKA_TOPICS=topic).offsets == [4, 5], (
        "the last five offsets, of which three are markers"
    )
    whole = render(KAFKA_TOPICS=topic)
    assert whole.offsets == [0, 1, 2, 3, 4, 5]
    assert "Traits" not in whole.err
    nothing = render("--from-offset", 9, KAFKA_TOPICS=topic)
    assert (nothing.code, nothing.out) == (0, "")


def test_a_range_that_is_not_there_is_refused(cluster: Cluster, render: Render) -> None:
    topic = cluster.make_topic(partitions=2)
    cluster.produce(topic, [Message(message.value, partition=1) for message in signals(5)])
    cluster.delete_records(topic, 1, 2)

    def refused(*arguments: object) -> str:
        ended = render("--topic", topic, *arguments)
        assert (ended.code, ended.out) == (2, "")
        return ended.err

    assert f"--partition: {topic} has 2 partitions, name one (0 to 1)" in refused()
    assert "there is no 2" in refused("--partition", 2)
    assert f"--from-offset: {topic}[1] begins at offset 2" in refused("--partition", 1, "--from-offset", 1)
    assert "--from-offset: 6 is beyond the end" in refused("--partition", 1, "--from-offset", 6)
    assert f"there is no topic {topic}-x" in refused("--topic", f"{topic}-x")
    assert render("--topic", topic, "--partition", 1).offsets == [2, 3, 4]


def test_a_broker_that_is_down_is_exit_code_1_and_says_where_to_look(render: Render) -> None:
    ended = render(KAFKA_BROKERS=f"127.0.0.1:{free_port()}")
    assert (ended.code, ended.out) == (1, "")
    assert "Check KAFKA_BROKERS" in ended.err
    assert "Traceback" not in ended.err


def properties(brokers: str) -> dict[str, Any]:
    return consumer_properties(load({"CONSENT_CATEGORIES": "x", "KAFKA_BROKERS": brokers}, api_key_required=False))


def test_a_range_ends_where_the_end_was_whatever_has_come_since(cluster: Cluster, topic: str) -> None:
    cluster.produce(topic, signals(5))
    records = read_range(properties(cluster.bootstrap_servers), TopicPartition(topic, 0), Bounds(0, 3, 1), 10)
    assert [record.offset for record in records] == [1, 2]


def test_a_range_of_which_nothing_comes_is_given_up() -> None:
    nobody = properties(f"127.0.0.1:{free_port()}")
    with pytest.raises(KafkaUnavailableError, match=r"nothing came of gone\[0\]"):
        read_range(nobody, TopicPartition("gone", 0), Bounds(0, 10, 0), 10, patience_seconds=0.5)


def test_a_range_that_is_deleted_meanwhile_is_refused(cluster: Cluster, topic: str) -> None:
    cluster.produce(topic, signals(5))
    cluster.delete_records(topic, 0, 3)
    with pytest.raises(SettingsError, match="offset 0 was deleted"):
        read_range(properties(cluster.bootstrap_servers), TopicPartition(topic, 0), Bounds(0, 5, 0), 10)


def test_records_of_a_registry_are_read_with_it_and_wait_without_it(
    cluster: Cluster, topic: str, render: Render, tmp_path: Path
) -> None:
    event = {"type": "page", "messageId": "evt_0", "anonymousId": "df_1", "timestamp": MOMENT}
    schema = shipped_schema()
    registry = Registry.start(tmp_path)
    try:
        with SchemaRegistryClient({"url": registry.url}) as client:
            schema_id = client.register_schema("events-value", Schema(json.dumps(schema), "AVRO"))
        body = encode(schema, {**event, "context": {"consent": {"analytics": True, "marketing": True}}})
        cluster.produce(topic, [signal("first"), Message(confluent(schema_id, body)), signal("behind")])
        with_it = render(KAFKA_TOPICS=topic, SCHEMA_REGISTRY_URL=registry.url)
        assert with_it.code == 0, with_it.err
        assert [line.event for line in with_it.records] == ["lead_generated", "page", "lead_generated"]
    finally:
        registry.stop()

    for settings, words in (
        ({}, "no schema registry is configured: set SCHEMA_REGISTRY_URL"),
        ({"SCHEMA_REGISTRY_URL": registry.url}, "cannot be reached"),
    ):
        ended = render(KAFKA_TOPICS=topic, **settings)
        assert ended.code == 3
        assert [line.outcome for line in ended.records] == ["delivered", "waiting", "waiting"]
        assert words in str(ended.records[1].detail)
        assert len(msgspec.json.decode(ended.bodies[0])["batch"]) == 1
