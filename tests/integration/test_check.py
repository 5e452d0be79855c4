"""`check` as a user runs it: a process of its own, against a real broker and a real registry, in good order and bad."""

import datetime as dt
import json
import os
import pty
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # in no __all__ of the client's
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.builders_avro import schema_of, shipped_schema
from tests.integration.cluster import Cluster
from tests.integration.harness import wait_until
from tests.integration.registry import Registry
from tests.integration.signals import signals
from tests.integration.test_registry import Stub
from worker.cluster import Cluster as WorkersCluster
from worker.demo.broker import EmbeddedKafka
from worker.demo.jars import find_java

SETTINGS = {"DREAMDATA_API_KEY": "s3cret", "CONSENT_CATEGORIES": "analytics,marketing"}
# Ten seconds for each question that is not answered, and the machine's own slowness; a check that hangs takes for ever.
BOUNDED_SECONDS = 100
INHERITED = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}


@dataclass(frozen=True, slots=True)
class Checked:
    """One run: its exit code, and what it found."""

    exit_code: int
    results: list[dict[str, Any]]
    seconds: float

    def of(self, area: str) -> list[dict[str, Any]]:
        return [result for result in self.results if result["area"] == area]

    @property
    def findings(self) -> list[tuple[str, str]]:
        return [(result["area"], result["what"]) for result in self.results if result["verdict"] == "finding"]

    def verdict(self, area: str) -> str:
        """Of the only line about it."""
        [result] = self.of(area)
        return str(result["verdict"])


Check = Callable[..., Checked]


def run_check(**settings: str) -> Checked:
    before = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "worker", "check", "--json"],
        env={**INHERITED, **SETTINGS, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return Checked(done.returncode, json.loads(done.stdout)["results"], time.monotonic() - before)


@pytest.fixture
def check(cluster: Cluster, topic: str, group: str) -> Check:
    """Checks a worker that is to read `topic` in `group`, which is well, but for what the settings say."""

    def checked(**settings: str) -> Checked:
        usual = {"KAFKA_BROKERS": cluster.bootstrap_servers, "KAFKA_TOPICS": topic, "KAFKA_CONSUMER_GROUP": group}
        return run_check(**{**usual, **settings})

    return checked


def own(topic: str) -> str:
    return f"{topic}.dead-letters"


def move(cluster: Cluster, group: str, topic: str, next_offset: int) -> None:
    """As a consumer commits: it waits for a coordinator that has just started, which an admin client does not."""
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap_servers, "group.id": group, "log_level": 0})
    consumer.commit(offsets=[TopicPartition(topic, 0, next_offset)], asynchronous=False)
    consumer.close()


def test_a_worker_that_can_start_leaves_no_finding_and_no_trace(
    cluster: Cluster, topic: str, group: str, check: Check
) -> None:
    cluster.produce(topic, signals(5))
    move(cluster, group, topic, 2)
    before = cluster.topics()
    checked = check()
    assert checked.findings == []
    assert checked.exit_code == 0
    assert [result["what"] for result in checked.of("lag")] == [f"{topic}: 3 records to read"]
    assert checked.verdict("transactions") == "ok"
    assert "does not exist yet" in checked.of("own topics")[0]["what"]
    # the first transaction of a broker makes a topic of Kafka's own
    assert cluster.topics() - before <= {"__transaction_state"}
    assert cluster.committed(group, topic) == {0: 2}
    assert cluster.end_offsets(topic) == {0: 5}


def test_a_missing_topic_is_found_and_not_made(cluster: Cluster, topic: str, check: Check) -> None:
    missing = f"{topic}-x"
    checked = check(KAFKA_TOPICS=missing)
    assert checked.exit_code == 3
    assert checked.findings == [("topics", f"{missing} does not exist, or may not be seen")]
    assert f"did you mean {topic}?" in checked.of("topics")[0]["remedy"]
    assert [checked.verdict(area) for area in ("own topics", "group", "lag", "transactions")] == [
        "skipped",
        "ok",
        "skipped",
        "ok",
    ]
    assert missing not in cluster.topics()


def test_a_pattern_that_matches_nothing_is_found(cluster: Cluster, check: Check) -> None:
    checked = check(KAFKA_TOPICS=f"^{cluster.unique('nothing')}")
    assert checked.exit_code == 3
    assert [area for area, _ in checked.findings] == ["topics"]


def test_a_dead_letter_topic_that_would_refuse_dead_letters_is_found(
    cluster: Cluster, topic: str, check: Check
) -> None:
    cluster.make_topic(name=own(topic), cleanup_policy="compact", max_message_bytes="1000000")
    checked = check()
    assert checked.exit_code == 3
    assert [area for area, _ in checked.findings] == ["own topics", "own topics"]
    assert "cleanup.policy=compact" in checked.findings[0][1]
    assert "takes records up to 1000000 bytes" in checked.findings[1][1]


def test_a_dead_letter_topic_that_takes_everything_is_well(cluster: Cluster, topic: str, check: Check) -> None:
    cluster.make_topic(name=own(topic), max_message_bytes="2000000")
    checked = check()
    assert checked.findings == []
    assert checked.of("own topics")[0]["what"].startswith(f"{own(topic)}: 1 partition, replication 1, keeps 7 days")


def test_retention_shorter_than_giving_up_takes_is_found(cluster: Cluster, topic: str, check: Check) -> None:
    cluster.set_config(topic, "retention.ms", "60000")
    checked = check(GIVE_UP_AFTER_SECONDS="3600")
    assert [area for area, _ in checked.findings] == ["topics"]
    assert "60 seconds, GIVE_UP_AFTER_SECONDS is 3600" in checked.findings[0][1]


def test_how_long_the_api_may_be_away_is_said_where_batches_are_retried_for_ever(
    cluster: Cluster, topic: str, check: Check
) -> None:
    usual = check().of("topics")[1]
    assert usual["verdict"] == "ok"
    assert f"After an outage of the API of 7 days, events of {topic}" in usual["what"]
    cluster.set_config(topic, "retention.ms", "7200000")
    short = check()
    assert [result["verdict"] for result in short.of("topics")] == ["ok", "warning"]
    assert "of 2 hours" in short.of("topics")[1]["what"]
    assert short.exit_code == 0


def test_an_identity_log_that_loses_visitors_is_found(cluster: Cluster, group: str, check: Check) -> None:
    source = cluster.make_topic(partitions=2)
    log = f"{group}.{source}.identity"
    cluster.make_topic(name=log, cleanup_policy="compact,delete", retention_ms="86400000", retention_bytes="1000000")
    checked = check(KAFKA_TOPICS=source)
    assert checked.exit_code == 3
    assert [what.removeprefix(f"{log} ").partition(":")[0] for area, what in checked.findings] == [
        "has retention.ms=86400000, less than IDENTITY_TTL_DAYS",
        "has retention.bytes=1000000",
        "has 1 partitions, its source 2",
    ]
    warned = [result["what"] for result in checked.of("own topics") if result["verdict"] == "warning"]
    assert ["is compacted" in warned[0], "learn that visitor again" in warned[1]] == [True, True]


def test_a_dead_letter_topic_that_takes_no_writes_or_forgets_soon_is_found(
    cluster: Cluster, topic: str, check: Check
) -> None:
    cluster.make_topic(name=own(topic), max_message_bytes="2000000", min_insync_replicas="2", retention_ms="3600000")
    checked = check()
    assert checked.findings == [
        ("own topics", f"{own(topic)} has min.insync.replicas=2 and replication 1: no write to it succeeds")
    ]
    assert "keeps dead letters for 60 minutes" in checked.of("own topics")[1]["what"]


def test_a_log_the_worker_made_itself_is_well(cluster: Cluster, topic: str, group: str, check: Check) -> None:
    properties = {"bootstrap.servers": cluster.bootstrap_servers}
    ours = WorkersCluster(properties)
    ours.make_identity_topic(topic, f"{group}.{topic}.identity", 400 * 86_400_000)
    ours.make_dead_letter_topic(topic, own(topic))
    checked = check()
    assert [result["verdict"] for result in checked.of("own topics")] == ["ok", "ok"]


def test_offsets_that_were_deleted_unread_are_found(cluster: Cluster, topic: str, group: str, check: Check) -> None:
    cluster.produce(topic, signals(20))
    move(cluster, group, topic, 5)
    cluster.delete_records(topic, 0, 12)
    checked = check()
    assert [area for area, _ in checked.findings] == ["lag"]
    assert "the next 7 offsets were deleted" in checked.findings[0][1]


@pytest.mark.parametrize(
    ("assignor", "verdict"), [("cooperative-sticky", "ok"), ("range", "finding")], ids=["ours", "another's"]
)
def test_members_of_the_group_are_counted_and_have_to_share_as_we_do(
    cluster: Cluster, topic: str, group: str, check: Check, assignor: str, verdict: str
) -> None:
    member = Consumer(
        {
            "bootstrap.servers": cluster.bootstrap_servers,
            "group.id": group,
            "partition.assignment.strategy": assignor,
            "log_level": 0,
        }
    )
    try:
        member.subscribe([topic])
        wait_until(lambda: member.consume(1, 0.1) or member.assignment(), 30, "the member has its partition")
        checked = check()
    finally:
        member.close()
    assert checked.verdict("group") == verdict
    assert ("1 member" if verdict == "ok" else assignor) in checked.of("group")[0]["what"]


def test_a_property_the_client_does_not_know_is_a_wrong_setting(cluster: Cluster) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "worker", "check"],
        env={
            **INHERITED,
            **SETTINGS,
            "KAFKA_BROKERS": cluster.bootstrap_servers,
            "KAFKA_CLIENT": '{"fetch.min.byte": 1}',
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "fetch.min.byte" in done.stderr


# brokers that do not answer


def test_a_broker_that_is_not_there_is_found_in_bounded_time_and_the_rest_is_looked_at() -> None:
    checked = run_check(KAFKA_BROKERS="127.0.0.1:1")
    assert checked.exit_code == 3
    [(area, what)] = checked.findings
    assert area == "brokers"
    assert "no broker answers at 127.0.0.1:1" in what
    assert "refused" in what
    skipped = ("topics", "own topics", "group", "lag", "transactions")
    assert {checked.verdict(area) for area in skipped} == {"skipped"}
    assert checked.verdict("schemas") == "ok"
    assert checked.seconds < BOUNDED_SECONDS


def test_a_refused_login_is_told_from_silence(check: Check) -> None:
    checked = check(KAFKA_SASL_MECHANISM="PLAIN", KAFKA_SASL_USERNAME="alice", KAFKA_SASL_PASSWORD="s3cret")
    [(area, what)] = checked.findings
    assert area == "brokers"
    assert what.startswith("the brokers refuse the login")
    assert "KAFKA_SASL_PASSWORD" in checked.of("brokers")[0]["remedy"]
    assert "s3cret" not in json.dumps(checked.results)


def test_an_untrusted_certificate_is_told_from_silence(tls_port: int) -> None:
    checked = run_check(KAFKA_BROKERS=f"localhost:{tls_port}", KAFKA_TLS_ENABLED="true")
    [(area, what)] = checked.findings
    assert area == "brokers"
    assert what.startswith("no TLS connection comes about")
    assert "KAFKA_TLS_CA_FILE" in checked.of("brokers")[0]["remedy"]


def test_a_broker_that_advertises_an_address_nobody_can_reach_is_found_in_bounded_time(kafka: str) -> None:
    properties = {"advertised.listeners": "PLAINTEXT://kafka.invalid:9092"}
    with EmbeddedKafka.start(java=find_java(os.environ), properties=properties) as broker:
        checked = run_check(KAFKA_BROKERS=broker.bootstrap_servers)
    [said] = checked.of("group")
    assert said["verdict"] == "finding"
    assert "Failed to resolve 'kafka.invalid:9092'" in said["what"]
    assert "advertised.listeners" in said["remedy"]
    assert checked.seconds < BOUNDED_SECONDS


@pytest.fixture
def tls_port(tmp_path: Path) -> Iterator[int]:
    """A listener with a certificate that nobody has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_self_signed(tmp_path))
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    continue

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def _self_signed(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = folder / "broker.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


# rights


@pytest.fixture(scope="module")
def guarded(kafka: str) -> Iterator[Cluster]:
    """A broker that allows everybody everything on what has no rule yet, and on what has one, what the rule says."""
    properties = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
    }
    with EmbeddedKafka.start(java=find_java(os.environ), properties=properties) as broker:
        cluster = Cluster(broker.bootstrap_servers)
        # who may make any topic needs no right to make one; what is left is what this test and the broker itself do
        allow_only(cluster, "BROKER", "kafka-cluster", "ALTER", "CLUSTER_ACTION")
        yield cluster


def allow_only(cluster: Cluster, kind: str, name: str, *operations: str) -> None:
    rules = [
        AclBinding(
            ResourceType[kind],
            name,
            ResourcePatternType.LITERAL,
            "User:ANONYMOUS",
            "*",
            AclOperation[operation],
            AclPermissionType.ALLOW,
        )
        for operation in operations
    ]
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap_servers, "log_level": 0})
    for made in admin.create_acls(rules).values():
        made.result(timeout=10)


def test_a_broker_that_has_just_started_is_waited_for(guarded: Cluster) -> None:
    topic = guarded.make_topic()
    checked = run_check(KAFKA_BROKERS=guarded.bootstrap_servers, KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=topic)
    assert checked.findings == []


@pytest.mark.parametrize(
    ("kind", "suffix", "allowed", "area", "remedy"),
    [
        pytest.param("TOPIC", "", "DESCRIBE", "topics", "grant READ on it", id="read the topic"),
        pytest.param("TOPIC", "", "ALTER_CONFIGS", "topics", "grant READ and DESCRIBE", id="see the topic"),
        pytest.param("TOPIC", ".dead-letters", "DESCRIBE", "own topics", "grant CREATE", id="make the own topic"),
        pytest.param("GROUP", "", "DESCRIBE", "group", "grant READ on the group", id="join the group"),
        pytest.param("GROUP", "", "DELETE", "group", "grant READ on the group", id="see the group"),
        pytest.param("TRANSACTIONAL_ID", "-check", "DESCRIBE", "transactions", "grant WRITE", id="transactions"),
    ],
)
def test_a_missing_right_is_found(
    guarded: Cluster, kind: str, suffix: str, allowed: str, area: str, remedy: str
) -> None:
    topic = guarded.make_topic()
    allow_only(guarded, kind, f"{topic}{suffix}", allowed)

    def found() -> list[str]:
        checked = run_check(KAFKA_BROKERS=guarded.bootstrap_servers, KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=topic)
        assert checked.exit_code == (3 if checked.findings else 0)
        return [result["remedy"] for result in checked.of(area) if result["verdict"] == "finding"]

    [said] = wait_until(found, 60, "the rule has taken effect")
    assert remedy in said


def test_a_dead_letter_topic_that_may_not_be_written_to_is_found(guarded: Cluster) -> None:
    topic = guarded.make_topic()
    guarded.make_topic(name=own(topic), max_message_bytes="2000000")
    allow_only(guarded, "TOPIC", own(topic), "READ")
    settings = {"KAFKA_BROKERS": guarded.bootstrap_servers, "KAFKA_TOPICS": topic, "KAFKA_CONSUMER_GROUP": topic}
    findings = wait_until(lambda: run_check(**settings).findings, 60, "the rule has taken effect")
    assert findings == [("own topics", f"{own(topic)} may not be written to")]


# the registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    registry = Registry.start(tmp_path_factory.mktemp("registry"))
    yield registry
    registry.stop()


@pytest.fixture
def stub() -> Iterator[Stub]:
    stub = Stub()
    yield stub
    stub.close()


def register(registry: Registry, subject: str, schema: object, kind: str = "AVRO") -> int:
    with SchemaRegistryClient({"url": registry.url}) as client:
        return int(client.register_schema(subject, Schema(json.dumps(schema), kind)))


def subject_line(checked: Checked, subject: str) -> dict[str, Any]:
    [found] = [result for result in checked.of("registry") if result["what"].startswith(subject)]
    return found


def test_a_subject_that_holds_everything_is_well(topic: str, registry: Registry, check: Check) -> None:
    schema_id = register(registry, f"{topic}-value", shipped_schema())
    checked = check(SCHEMA_REGISTRY_URL=registry.url)
    assert (checked.findings, checked.exit_code) == ([], 0)
    found = subject_line(checked, f"{topic}-value")
    assert found["what"] == f"{topic}-value version 1 (id:{schema_id}): 21 fields found, none missing"
    assert found["details"][1] == "missing: none"


def test_the_latest_version_of_a_subject_that_lacks_fields_is_found(
    topic: str, registry: Registry, check: Check
) -> None:
    register(registry, f"{topic}-value", shipped_schema())
    register(registry, f"{topic}-value", schema_of(type="string", event="string"))
    checked = check(SCHEMA_REGISTRY_URL=registry.url)
    assert checked.exit_code == 3
    [(area, what)] = checked.findings
    assert area == "registry"
    assert what.startswith(f"{topic}-value version 2")
    assert "neither `anonymousId` nor `userId`" in what
    assert "without `timestamp`" in what
    assert subject_line(checked, f"{topic}-value")["details"][0] == "found: type, event"


def test_a_schema_of_another_type_is_found_where_events_are_expected_and_listed_elsewhere(
    topic: str, registry: Registry, check: Check
) -> None:
    json_schema = {"$schema": "http://json-schema.org/draft-07/schema#"}
    register(registry, f"{topic}-value", json_schema, "JSON")
    register(registry, f"other-{topic}-value", json_schema, "JSON")
    checked = check(SCHEMA_REGISTRY_URL=registry.url)
    assert [what for _, what in checked.findings] == [subject_line(checked, f"{topic}-value")["what"]]
    assert "type JSON, not AVRO" in checked.findings[0][1]
    assert subject_line(checked, f"other-{topic}-value")["verdict"] == "ok"


def test_a_registry_that_is_not_there_is_found_and_the_rest_is_looked_at(check: Check) -> None:
    checked = check(SCHEMA_REGISTRY_URL="http://127.0.0.1:1")
    assert checked.exit_code == 3
    [(area, what)] = checked.findings
    assert area == "registry"
    assert "cannot be reached" in what
    assert checked.verdict("schemas") == "ok"


def test_a_registry_that_refuses_the_login_is_found(check: Check, stub: Stub) -> None:
    stub.default = 401, '{"error_code": 401, "message": "no"}'
    checked = check(SCHEMA_REGISTRY_URL=stub.url, SCHEMA_REGISTRY_USERNAME="alice", SCHEMA_REGISTRY_PASSWORD="pa55word")
    [(area, what)] = checked.findings
    assert area == "registry"
    assert "SCHEMA_REGISTRY_PASSWORD" in what
    assert "pa55word" not in json.dumps(checked.results)


def test_a_registry_that_never_answers_is_found_in_bounded_time(check: Check, stub: Stub) -> None:
    stub.silent.set()
    checked = check(SCHEMA_REGISTRY_URL=stub.url)
    assert [area for area, _ in checked.findings] == ["registry"]
    assert checked.seconds < BOUNDED_SECONDS


@pytest.mark.parametrize("body", ["<html>log in</html>", '{"subjects": []}', ""], ids=["page", "object", "nothing"])
def test_what_is_no_registry_is_found(check: Check, stub: Stub, body: str) -> None:
    stub.default = 200, body
    checked = check(SCHEMA_REGISTRY_URL=stub.url)
    assert [area for area, _ in checked.findings] == ["registry"]


def test_of_very_many_subjects_the_topics_own_is_looked_at_and_the_others_are_counted(
    topic: str, check: Check, stub: Stub
) -> None:
    names = [f"a-{number}" for number in range(60)] + [f"{topic}-value"]
    version = {"version": 1, "id": 7, "schema": json.dumps(shipped_schema())}
    stub.answers["/subjects"] = 200, json.dumps(names)
    for name in names:
        stub.answers[f"/subjects/{name}/versions/latest"] = 200, json.dumps({"subject": name, **version})
    checked = check(SCHEMA_REGISTRY_URL=stub.url)
    assert checked.exit_code == 0
    assert subject_line(checked, f"{topic}-value")["verdict"] == "ok"
    assert checked.of("registry")[-1]["what"] == "11 more subjects, not looked at to keep this short"


# a terminal


def test_on_a_terminal_lines_are_coloured_and_fit() -> None:
    main, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "worker", "check", "--offline"],
        env={**INHERITED, **SETTINGS, "TERM": "xterm", "COLUMNS": "80"},
        stdout=terminal,
    ) as process:
        os.close(terminal)
        page = _read_all(main)
    os.close(main)
    assert process.returncode == 0
    assert "\x1b[32mok" in page
    assert "context.campaign" in page
    assert "No findings" in page


def _read_all(descriptor: int) -> str:
    page = b""
    while True:
        try:
            piece = os.read(descriptor, 65_536)
        except OSError:  # how a terminal whose other side is closed says that there is no more
            piece = b""
        if not piece:
            return page.decode()
        page += piece
