"""What comes out for what went in: real Kafka, the worker as a process, the sandbox as API."""

import json
import math
import random
from collections import defaultdict
from uuid import UUID

import pytest

from tests.fakes import delivered_ids
from tests.integration.cluster import Cluster, Message
from tests.integration.fixtures import StartWorker
from tests.integration.harness import wait_until
from tests.integration.signals import GRANTED, ids, signal
from worker.core.outcomes import Outcome, Reason
from worker.sandbox import Sandbox

PAGE = {"url": "https://acme.com/pricing?utm=a", "title": "Pricing", "referrer": "https://google.com"}
CONTEXT = {
    "ip": "24.5.68.47",
    "userAgent": "Mozilla/5.0",
    "page": PAGE,
    "campaign": {"source": "google", "medium": "cpc", "name": "brand-2026"},
}
JANE = {"email": "jane.doe@acme.com", "name": "Jane Doe", "company": "Acme Inc"}


def settled(cluster: Cluster, group: str, topic: str) -> bool:
    """Whether the group has committed all there is, in every partition."""
    return cluster.committed(group, topic) == cluster.end_offsets(topic)


def test_the_contracts_example_comes_out_as_documented(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    fields = {"properties": {"form_id": "demo-request", "value": 0, "currency": "USD"}, "context": CONTEXT}
    cluster.produce(
        topic,
        [
            signal("evt_page", "df_8f2a1c9e", type="page", event=None, context=CONTEXT),
            signal("evt_identify", "df_8f2a1c9e", type="identify", event=None, userId="user-123", traits=JANE),
            signal("evt_6f47f5a0", "df_8f2a1c9e", userId="user-123", **fields),
            signal("evt_other", "df_8f2a1c9e", userId="user-456", **fields),
        ],
    )
    worker = start_worker(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url)
    wait_until(lambda: settled(cluster, group, topic), 30, "all is committed")

    items = {event.message_id: event.json for event in sandbox.ledger.events()}
    assert set(items) == {"evt_page", "evt_6f47f5a0", "evt_other"}
    expected = {
        "type": "track",
        "event": "lead_generated",
        "anonymousId": "df_8f2a1c9e",
        "userId": "user-123",
        "messageId": "evt_6f47f5a0",
        "timestamp": "2026-06-06T11:11:14.000Z",
        "properties": {"form_id": "demo-request", "value": 0, "currency": "USD"},
        "traits": JANE,
        "context": CONTEXT,
    }
    assert items["evt_6f47f5a0"].decode() == json.dumps(expected, separators=(",", ":"))
    assert "traits" not in json.loads(items["evt_page"]), "a page before the identify"
    assert "traits" not in json.loads(items["evt_other"]), "another user in the same browser"
    [body] = {json.dumps(sorted(json.loads(body))) for body in sandbox.ledger.bodies()}
    assert json.loads(body) == ["batch", "messageId", "sentAt"]
    assert worker.terminate() == 0


def every_outcome() -> list[tuple[str, Message, Outcome, Reason]]:
    """One record for each way to end, with where it has to end."""
    filtered, dead = Outcome.FILTERED, Outcome.DEAD_LETTERED
    good = signal("x").value or b""
    return [
        ("delivered", signal("evt_good"), Outcome.DELIVERED, Reason.DELIVERED),
        ("without messageId", signal(None), Outcome.DELIVERED, Reason.DELIVERED),
        ("null value", Message(None, key=b"k"), filtered, Reason.NULL_VALUE),
        ("missing consent", signal("m", context={"consent": {"analytics": True}}), filtered, Reason.NO_CONSENT),
        ("denied", signal("d", context={"consent": GRANTED | {"marketing": False}}), filtered, Reason.CONSENT_DENIED),
        ("identify", signal("i", type="identify", event=None), filtered, Reason.ABSORBED),
        ("group", signal("g", type="group", event=None, groupId="acme"), filtered, Reason.ABSORBED),
        ("unmapped", signal("u", event="Video Played"), filtered, Reason.UNMAPPED),
        ("switched off", signal("s", event="login"), filtered, Reason.SWITCHED_OFF),
        ("empty value", Message(b""), dead, Reason.UNDECODABLE),
        ("text", Message(b'{"type": "track"}'), dead, Reason.UNDECODABLE),
        ("truncated", Message(good[:-3]), dead, Reason.UNDECODABLE),
        ("left-over bytes", Message(good + b"x"), dead, Reason.UNDECODABLE),
        ("wrong fingerprint", Message(b"\xc3\x01" + bytes(8) + good[10:]), dead, Reason.UNKNOWN_SCHEMA),
        ("no ids", signal("n", None), dead, Reason.INVALID_EVENT),
        ("unknown type", signal("t", type="screen"), dead, Reason.INVALID_EVENT),
        ("nameless track", signal("e", event=None), dead, Reason.INVALID_EVENT),
        ("no timestamp", signal("ts", timestamp=None), dead, Reason.INVALID_EVENT),
        ("messageId of 101", signal("m" * 101), dead, Reason.INVALID_EVENT),
        ("NaN", signal("nan", properties={"value": math.nan}), dead, Reason.INVALID_EVENT),
        ("700 KB", signal("big", properties={"text": "x" * 700_000}), dead, Reason.TOO_LARGE),
    ]


def test_every_record_ends_in_one_outcome_and_dead_letters_keep_its_bytes(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    cases = every_outcome()
    own_header = ("trace", b"\x00\xff")
    messages = [Message(m.value, m.key, (own_header,), timestamp_ms=1_780_000_000_000) for _, m, _, _ in cases]
    stored = cluster.produce(topic, messages)
    worker = start_worker(
        KAFKA_TOPICS=topic,
        KAFKA_CONSUMER_GROUP=group,
        DREAMDATA_URL=sandbox.url,
        EVENT_MAPPING='{"Logged In": false}',
        LOG_LEVEL="debug",
    )
    wait_until(lambda: settled(cluster, group, topic), 30, "all is committed")

    expected: dict[tuple[str, ...], int] = defaultdict(int)
    for _, _, outcome, reason in cases:
        expected[outcome, reason] += 1
    worker.wait_outcomes(expected)

    letters = {int(letter.headers["dl-offset"]): letter for letter in cluster.read_topic(f"{topic}.dead-letters")}
    ended_dead = {
        stored[index].record.offset: (name, reason)
        for index, (name, _, outcome, reason) in enumerate(cases)
        if outcome is Outcome.DEAD_LETTERED
    }
    assert set(letters) == set(ended_dead)
    for offset, (name, reason) in ended_dead.items():
        letter, source = letters[offset], stored[offset]
        assert (letter.record.key, letter.record.value) == (source.record.key, source.record.value), name
        assert own_header in letter.record.headers, name
        assert letter.headers["dl-reason"] == reason, name
        assert letter.headers["dl-topic"] == topic
        assert letter.headers["dl-partition"] == "0"
        assert letter.headers["dl-timestamp"] == "2026-05-28T20:26:40.000Z"
        assert letter.headers["dl-group"] == group
        own = sum(len(name) + len(value or b"") for name, value in letter.record.headers if name.startswith("dl-"))
        assert own <= 4096, name
    derived = [event.message_id for event in sandbox.ledger.events() if event.message_id != "evt_good"]
    assert [UUID(message_id).version for message_id in derived] == [5]


def test_bodies_are_full_and_below_the_limit_under_a_backlog_and_order_is_kept(
    cluster: Cluster, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    topic = cluster.make_topic(partitions=3)
    awkward = 'ü€𝄞"\\\n\t\x01</script>'
    untouched = {"zero": 0, "no": False, "empty": "", "null": None, "products": [{"sku": "a", "price": 1.5}]}
    properties = [{"text": awkward * (1 + number % 40), **untouched} for number in range(6_000)]
    messages = [
        Message(signal(f"evt_{number}", properties=given).value, partition=number % 3)
        for number, given in enumerate(properties)
    ]
    cluster.produce(topic, messages)
    worker = start_worker(
        KAFKA_TOPICS=topic,
        KAFKA_CONSUMER_GROUP=group,
        DREAMDATA_URL=sandbox.url,
        # long enough that a busy machine cannot make a backlog look like a trickle
        BATCH_LINGER_MS="3000",
    )
    wait_until(lambda: settled(cluster, group, topic), 60, "all is committed")

    assert delivered_ids(sandbox) == dict.fromkeys(ids(6_000), 1)
    sizes = [request.body_bytes for request in sandbox.ledger.requests()]
    largest_payload = max(len(event.json) for event in sandbox.ledger.events())
    assert max(sizes) < 500_000
    not_full = [size for size in sizes if size < 500_000 - largest_payload - 1]
    assert len(not_full) <= 3, f"at most the last body of each partition: {sizes}"
    arrived = [int(event.message_id.removeprefix("evt_")) for event in sandbox.ledger.events()]
    for partition in range(3):
        own = [number for number in arrived if number % 3 == partition]
        assert own == sorted(own), "order per partition"
    received = {event.message_id: event.item["properties"] for event in sandbox.ledger.events()}
    assert received == {f"evt_{number}": given for number, given in enumerate(properties)}
    assert worker.terminate() == 0


def test_random_bytes_never_end_the_worker(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    rng = random.Random(7)
    garbage = [Message(rng.randbytes(rng.randint(1, 400))) for _ in range(300)]
    prefixed = [Message((signal("x").value or b"")[:10] + rng.randbytes(rng.randint(0, 400))) for _ in range(300)]
    good = [signal(f"evt_{number}") for number in range(300)]
    mixed = [message for triple in zip(garbage, prefixed, good, strict=True) for message in triple]
    # 0x00 begins a registry id, and there is no registry here: those would wait, which is another test's matter
    mixed = [message for message in mixed if not (message.value or b"").startswith(b"\x00")]
    cluster.produce(topic, mixed)
    worker = start_worker(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url)
    wait_until(lambda: settled(cluster, group, topic), 60, "all is committed")

    assert ids(300) <= set(delivered_ids(sandbox))
    wait_until(lambda: sum(worker.metrics().outcomes().values()) == len(mixed), 10, "the counters add up")
    assert worker.terminate() == 0


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_pattern_reads_what_matches_and_never_the_workers_own_topics(
    cluster: Cluster, group: str, sandbox: Sandbox, start_worker: StartWorker, protocol: str
) -> None:
    stem = cluster.unique("delivery")
    first, second = cluster.make_topic(name=f"{stem}-a"), cluster.make_topic(name=f"{stem}-b")
    cluster.make_topic(name=f"{stem}-b.dead-letters")
    cluster.make_topic(name=f"{group}.{stem}-a.identity", cleanup_policy="compact,delete")
    cluster.produce(first, [signal("evt_0"), Message(b"not Avro")])
    cluster.produce(second, [signal("evt_1")])
    cluster.produce(f"{stem}-b.dead-letters", [signal("evt_dead")])
    worker = start_worker(
        KAFKA_TOPICS=f"^(.*[.])?{stem}",
        KAFKA_CONSUMER_GROUP=group,
        DREAMDATA_URL=sandbox.url,
        KAFKA_GROUP_PROTOCOL=protocol,
    )
    wait_until(lambda: settled(cluster, group, first) and settled(cluster, group, second), 60, "all is committed")
    # the dead letter of `first` has made `<first>.dead-letters` by now
    assert f"{first}.dead-letters" in cluster.topics()
    [subscribed] = worker.logged("topics.subscribed")
    assert subscribed["topics"] == [first, second]
    assert set(delivered_ids(sandbox)) == {"evt_0", "evt_1"}
    assert worker.terminate() == 0
