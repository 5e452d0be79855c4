"""What the clients are told. The consumer itself is tested on a real broker."""

import json
from collections.abc import Mapping

import pytest

from worker.client_properties import client_properties, consumer_properties
from worker.core.records import Record
from worker.kafka import record_of
from worker.settings import Settings, load

NEEDED = {"DREAMDATA_API_KEY": "abc123", "CONSENT_CATEGORIES": "not-required"}
PLAIN = {"KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_SASL_USERNAME": "alice", "KAFKA_SASL_PASSWORD": "secret"}
TLS = {"KAFKA_TLS_ENABLED": "true"}

# of librdkafka's CONFIGURATION.md, those marked C that a user may set
CONSUMER_ONLY = {
    "group.instance.id": "worker-1",
    "partition.assignment.strategy": "range",
    "session.timeout.ms": 20_000,
    "heartbeat.interval.ms": 2_000,
    "group.remote.assignor": "uniform",
    "coordinator.query.interval.ms": 1_000,
    "max.poll.interval.ms": 200_000,
    "queued.min.messages": 1_000,
    "queued.max.messages.kbytes": 1_024,
    "fetch.wait.max.ms": 50,
    "fetch.queue.backoff.ms": 7,
    "fetch.message.max.bytes": 2_000_000,
    "max.partition.fetch.bytes": 2_000_000,
    "fetch.max.bytes": 9_000_000,
    "fetch.min.bytes": 2,
    "fetch.error.backoff.ms": 100,
    "check.crcs": True,
}
EVERY_CLIENTS = {"socket.timeout.ms": 30_000, "client.rack": "a", "message.max.bytes": 2_000_000, "debug": "broker"}


def settings(**env: str) -> Settings:
    return load(NEEDED | env)


def with_client(properties: Mapping[str, object], **env: str) -> Settings:
    return settings(KAFKA_CLIENT=json.dumps(properties), **env)


@pytest.mark.parametrize(
    ("env", "protocol"),
    [
        pytest.param({}, "PLAINTEXT", id="nothing"),
        pytest.param(TLS, "SSL", id="TLS"),
        pytest.param(PLAIN, "SASL_PLAINTEXT", id="SASL"),
        pytest.param(TLS | PLAIN, "SASL_SSL", id="both"),
    ],
)
def test_the_protocol_follows_from_tls_and_sasl(env: dict[str, str], protocol: str) -> None:
    assert client_properties(settings(**env))["security.protocol"] == protocol


def test_a_login_reaches_the_client() -> None:
    made = client_properties(settings(**PLAIN, **TLS))
    assert {name: value for name, value in made.items() if name.startswith("sasl.")} == {
        "sasl.mechanism": "PLAIN",
        "sasl.username": "alice",
        "sasl.password": "secret",
    }


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_every_mechanism_is_named_as_the_client_knows_it(mechanism: str) -> None:
    made = client_properties(settings(**PLAIN | {"KAFKA_SASL_MECHANISM": mechanism}))
    assert made["sasl.mechanism"] == mechanism


def test_certificates_reach_the_client(tmp_path_factory: pytest.TempPathFactory) -> None:
    paths = {}
    for kind in ("CA", "CERT", "KEY"):
        path = tmp_path_factory.mktemp("tls") / f"{kind}.pem"
        path.write_text("made up")
        paths[f"KAFKA_TLS_{kind}_FILE"] = str(path)
    made = client_properties(settings(**TLS, **paths))
    assert [made[name] for name in ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location")] == list(
        paths.values()
    )


def test_what_is_not_set_is_not_said() -> None:
    always = {"bootstrap.servers", "client.id", "log_level", "allow.auto.create.topics", "security.protocol"}
    assert set(client_properties(settings())) == always


def test_all_brokers_are_named() -> None:
    assert client_properties(settings(KAFKA_BROKERS="one:9092,two:9093"))["bootstrap.servers"] == "one:9092,two:9093"


def test_kafka_client_sets_what_has_no_setting_for_every_client() -> None:
    chosen = with_client(EVERY_CLIENTS)
    assert EVERY_CLIENTS.items() <= client_properties(chosen).items()
    assert EVERY_CLIENTS.items() <= consumer_properties(chosen).items()


def test_kafka_client_wins_where_it_is_allowed() -> None:
    chosen = with_client({"client.id": "mine", "log_level": 7})
    assert client_properties(chosen) | {"client.id": "mine", "log_level": 7} == client_properties(chosen)


def test_oauthbearer_is_set_up_through_kafka_client() -> None:
    login = {"security.protocol": "SASL_SSL", "sasl.mechanisms": "OAUTHBEARER", "sasl.oauthbearer.method": "oidc"}
    assert login.items() <= client_properties(with_client(login)).items()


@pytest.mark.parametrize("name", CONSUMER_ONLY)
def test_what_only_a_consumer_knows_reaches_the_consumer_alone(name: str) -> None:
    chosen = with_client(
        {name: CONSUMER_ONLY[name]},
        KAFKA_GROUP_PROTOCOL="consumer" if name == "group.remote.assignor" else "classic",
    )
    assert consumer_properties(chosen)[name] == CONSUMER_ONLY[name]
    assert name not in client_properties(chosen)


def test_the_consumers_own_choices_can_be_changed() -> None:
    chosen = with_client({"partition.assignment.strategy": "range", "session.timeout.ms": 30_000})
    made = consumer_properties(chosen)
    assert (made["partition.assignment.strategy"], made["session.timeout.ms"]) == ("range", 30_000)


def test_a_classic_group_is_cooperative_with_a_short_session() -> None:
    made = consumer_properties(settings())
    assert made["group.protocol"] == "classic"
    assert made["partition.assignment.strategy"] == "cooperative-sticky"
    assert made["session.timeout.ms"] == 12_000


def test_under_the_consumer_protocol_session_and_assignment_are_the_brokers() -> None:
    made = consumer_properties(settings(KAFKA_GROUP_PROTOCOL="consumer"))
    assert made["group.protocol"] == "consumer"
    assert {"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"}.isdisjoint(made)


PROMISES = {
    "group.id": "dreamdata-worker",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
}


def test_offsets_move_only_by_the_worker() -> None:
    assert PROMISES.items() <= consumer_properties(settings()).items()


@pytest.mark.parametrize("name", PROMISES)
def test_a_promise_holds_even_where_the_settings_were_not_checked(name: str) -> None:
    unchecked = settings().model_copy(update={"kafka_client": {name: "true"}})
    assert consumer_properties(unchecked)[name] == PROMISES[name]


@pytest.mark.parametrize("reset", ["earliest", "latest", "error"])
def test_the_client_never_looks_for_an_offset_of_its_own(reset: str) -> None:
    assert consumer_properties(settings(KAFKA_AUTO_OFFSET_RESET=reset))["auto.offset.reset"] == "error"


class _Unspeakable:
    """A message whose header name is no UTF-8, as the client hands it out: it raises when asked for its headers."""

    def offset(self) -> int:
        return 7

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_000

    def key(self) -> bytes:
        return b"key"

    def value(self) -> bytes:
        return b"value"

    def headers(self) -> None:
        raise SystemError("returned a result with an exception set")


def test_a_header_name_that_is_no_utf_8_costs_the_headers_and_not_the_process() -> None:
    assert record_of(_Unspeakable()) == Record(7, 1_000, b"key", b"value", ())  # type: ignore[arg-type]  # stands in
