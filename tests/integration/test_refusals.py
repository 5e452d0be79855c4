"""What the worker makes of an API, a registry or a key that says no: nothing lost, nothing doubled, and it says why."""

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from math import log2
from pathlib import Path

import pytest

from tests.builders_avro import confluent
from tests.fakes import delivered_ids, put_faults
from tests.integration.cluster import Cluster, Message
from tests.integration.fixtures import StartWorker
from tests.integration.harness import wait_until
from tests.integration.signals import ids, signal, signals
from tests.integration.test_delivery import settled
from worker.sandbox import Sandbox
from worker.settings.table import shipped_schemas


def dead_letters(cluster: Cluster, topic: str) -> list[tuple[str, str]]:
    """Reason and offset of each."""
    letters = cluster.read_topic(f"{topic}.dead-letters")
    return [(letter.headers["dl-reason"], letter.headers["dl-offset"]) for letter in letters]


def test_three_poison_events_in_400_are_isolated_and_the_rest_is_delivered_once(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    poison = {"evt_7", "evt_200", "evt_399"}
    put_faults(sandbox, *({"status": 422, "message_id": message_id} for message_id in poison))
    cluster.produce(topic, signals(400))
    worker = start_worker(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url)
    wait_until(lambda: settled(cluster, group, topic), 30, "all is committed")

    assert delivered_ids(sandbox) == dict.fromkeys(ids(400) - poison, 1)
    letters = cluster.read_topic(f"{topic}.dead-letters")
    assert sorted(int(letter.headers["dl-offset"]) for letter in letters) == [7, 200, 399]
    assert {letter.headers["dl-http-status"] for letter in letters} == {"422"}
    assert {letter.headers["dl-reason"] for letter in letters} == {"rejected"}
    requests = len(sandbox.ledger.requests())
    assert requests <= 1 + 3 * (2 * log2(400) + 2), requests
    worker.wait_outcomes({("delivered", ""): 397, ("dead_lettered", "rejected"): 3})


def test_an_api_that_answers_400_to_everything_gets_ten_dead_letters_and_a_hold_that_says_why(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    put_faults(sandbox, {"status": 400})
    cluster.produce(topic, signals(400))
    worker = start_worker(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url)
    wait_until(lambda: worker.is_held("rejections"), 30, "the hold")

    status, text = worker.get("/readyz")
    assert status == 503
    assert "REJECTION_LIMIT" in text
    assert worker.get("/healthz")[0] == 200
    wait_until(lambda: cluster.committed(group, topic) == {0: 10}, 10, "the ten are committed")
    assert dead_letters(cluster, topic) == [("rejected", str(offset)) for offset in range(10)]
    assert worker.terminate() == 0
    assert cluster.committed(group, topic) == {0: 10}, "nothing behind them moved"


def test_eleven_poison_events_in_a_row_are_isolated_without_a_lasting_hold(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    poison = {f"evt_{number}" for number in range(100, 111)}
    put_faults(sandbox, *({"status": 400, "message_id": message_id} for message_id in poison))
    cluster.produce(topic, signals(400))
    start_worker(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url)
    wait_until(lambda: settled(cluster, group, topic), 25, "all is committed, sooner than a second probe is due")

    assert delivered_ids(sandbox) == dict.fromkeys(ids(400) - poison, 1)
    assert len(dead_letters(cluster, topic)) == 11


def test_a_revoked_key_loses_nothing_and_the_rotated_one_is_used_without_restart(
    cluster: Cluster, group: str, start_worker: StartWorker, tmp_path: Path
) -> None:
    topic = cluster.make_topic(partitions=3)
    key_file = tmp_path / "key"
    key_file.write_text("old-key\n")
    cluster.produce(topic, signals(900))
    with Sandbox(key="new-key") as sandbox:
        worker = start_worker(
            KAFKA_TOPICS=topic,
            KAFKA_CONSUMER_GROUP=group,
            DREAMDATA_URL=sandbox.url,
            DREAMDATA_API_KEY_FILE=str(key_file),
        )
        wait_until(lambda: worker.is_held("unauthorized"), 30, "the hold")
        held_at = time.monotonic()
        wait_until(lambda: worker.metrics().value("oldest_unsettled_seconds") > 3, 20, "some time has passed")
        refused = len(sandbox.ledger.requests())
        assert refused <= 3, "what was on the wire when the first 401 came, and nothing since"
        assert set(cluster.committed(group, topic).values()) == {0}, "where it starts, and no further"
        status, text = worker.get("/readyz")
        assert status == 503
        assert "Server Side Analytics APIs" in text
        key_file.write_text("new-key\n")
        wait_until(lambda: settled(cluster, group, topic), 40, "all is committed")
        probe = sandbox.ledger.requests()[refused]
        assert probe.started_at.monotonic - held_at > 25, "one probe every half minute"
        assert delivered_ids(sandbox) == dict.fromkeys(ids(900), 1)
        assert dead_letters(cluster, topic) == []
        wait_until(worker.is_ready, 5, "ready again")
        [resumed] = worker.logged("delivery.resumed")
        assert resumed["level"] == "info"


def in_three_seconds() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)


@pytest.mark.parametrize(
    ("retry_after", "at_least_seconds"),
    [
        pytest.param(lambda: "2", 2.0, id="seconds"),
        # a date has whole seconds only, so up to one of them is lost
        pytest.param(in_three_seconds, 2.0, id="http date"),
        pytest.param(lambda: "0", 0.0, id="zero"),
        pytest.param(lambda: "soon", 0.0, id="garbage"),
    ],
)
def test_after_a_429_no_request_of_any_partition_starts_before_its_time(
    cluster: Cluster,
    group: str,
    sandbox: Sandbox,
    start_worker: StartWorker,
    retry_after: Callable[[], str],
    at_least_seconds: float,
) -> None:
    topic = cluster.make_topic(partitions=4)
    start_worker(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url).wait_ready()
    put_faults(sandbox, {"status": 429, "retry_after": retry_after(), "count": 1})
    cluster.produce(topic, [Message(message.value, partition=0) for message in signals(10)])
    wait_until(sandbox.ledger.requests, 10, "the 429")
    cluster.produce(
        topic, [Message(message.value, partition=1 + n % 3) for n, message in enumerate(signals(90, prefix="b"))]
    )
    wait_until(lambda: settled(cluster, group, topic), 30, "all is committed")

    first, *later = sandbox.ledger.requests()
    assert first.status == 429
    # the sandbox notes an answer's end before the worker has read it
    assert min(request.started_at.monotonic for request in later) >= first.ended_at.monotonic + at_least_seconds - 0.05
    assert delivered_ids(sandbox) == dict.fromkeys(ids(10) | ids(90, prefix="b"), 1)


class Registry:
    """A registry that answers what the test says: a status and a body, or a schema."""

    def __init__(self) -> None:
        outer = self
        self.answer: tuple[int, str, bytes] = (500, "application/json", b"{}")
        self.requests = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                status, content_type, body = outer.answer
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Tests are quiet."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def registry() -> Iterator[Registry]:
    registry = Registry()
    yield registry
    registry.close()


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param((500, "application/json", b"{}"), id="500"),
        pytest.param((401, "application/json", b'{"error_code": 401}'), id="401"),
        pytest.param((404, "text/html", b"<h1>not here</h1>"), id="404 page"),
        pytest.param((200, "text/html", b"<h1>welcome</h1>"), id="garbage"),
    ],
)
def test_a_registry_in_trouble_holds_the_partition_and_dead_letters_nothing(
    cluster: Cluster,
    group: str,
    sandbox: Sandbox,
    start_worker: StartWorker,
    registry: Registry,
    trouble: tuple[int, str, bytes],
) -> None:
    topic = cluster.make_topic(partitions=2)
    registry.answer = trouble
    by_id = [Message(confluent(7, (message.value or b"")[10:]), partition=0) for message in signals(20)]
    cluster.produce(topic, by_id)
    cluster.produce(topic, [Message(message.value, partition=1) for message in signals(20, prefix="other")])
    worker = start_worker(
        KAFKA_TOPICS=topic,
        KAFKA_CONSUMER_GROUP=group,
        DREAMDATA_URL=sandbox.url,
        SCHEMA_REGISTRY_URL=registry.url,
    )
    wait_until(lambda: registry.requests >= 2, 30, "the registry was asked again")
    wait_until(lambda: cluster.committed(group, topic).get(1) == 20, 30, "the other partition goes on")
    wait_until(lambda: "waiting for schema id:7" in worker.get("/readyz")[1], 10, "it says what it waits for")
    assert cluster.committed(group, topic)[0] == 0, "where it starts, and no further"

    schema = json.loads((shipped_schemas() / "signal_event.avsc").read_text())
    registry.answer = (200, "application/json", json.dumps({"schema": json.dumps(schema)}).encode())
    wait_until(lambda: settled(cluster, group, topic), 60, "all is committed")
    assert delivered_ids(sandbox) == dict.fromkeys(ids(20) | ids(20, prefix="other"), 1)
    assert dead_letters(cluster, topic) == []


def test_a_schema_the_registry_does_not_know_is_a_dead_letter(
    cluster: Cluster,
    topic: str,
    group: str,
    sandbox: Sandbox,
    start_worker: StartWorker,
    registry: Registry,
) -> None:
    registry.answer = (404, "application/json", b'{"error_code": 40403, "message": "Schema 9 not found"}')
    cluster.produce(topic, [signal("evt_0"), Message(confluent(9, b"whatever")), signal("evt_1")])
    start_worker(
        KAFKA_TOPICS=topic,
        KAFKA_CONSUMER_GROUP=group,
        DREAMDATA_URL=sandbox.url,
        SCHEMA_REGISTRY_URL=registry.url,
    )
    wait_until(lambda: settled(cluster, group, topic), 60, "all is committed")
    assert dead_letters(cluster, topic) == [("unknown-schema", "1")]
    assert registry.requests == 2, "asked twice before it is believed"
    assert set(delivered_ids(sandbox)) == {"evt_0", "evt_1"}
