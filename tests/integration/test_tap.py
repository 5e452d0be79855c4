"""`tap` as a process beside a worker as a process, on real Kafka: what a newcomer sees of single events."""

import json
import os
import signal as signals_of_the_system
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.fakes import delivered_ids, put_faults
from tests.integration.cluster import Cluster, Message
from tests.integration.fixtures import StartWorker
from tests.integration.harness import WorkerProcess, wait_until
from tests.integration.signals import ids, signal, signals
from tests.integration.test_delivery import settled
from worker.demo.broker import free_port
from worker.sandbox import Sandbox

EMAIL = "jane.doe@acme.com"


class TapProcess:
    """The command as a user starts it; its output goes to files, as through a pipe."""

    def __init__(self, folder: Path, *arguments: str, **env: str) -> None:
        self.out, self.err = folder / "tap.out", folder / "tap.err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "worker", "tap", *arguments],
                env={"PATH": os.environ["PATH"], **env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def wait_watching(self) -> None:
        wait_until(lambda: "watching" in self.err.read_text(), 30, "it watches")

    def lines(self) -> list[str]:
        return self.out.read_text().splitlines()

    def pictures(self) -> list[dict[str, Any]]:
        """What it printed with --json, whole lines alone."""
        whole, _, _ = self.out.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def interrupt(self) -> int:
        self._process.send_signal(signals_of_the_system.SIGINT)
        return self.wait_exit()

    def wait_exit(self) -> int:
        return self._process.wait(30)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


class StartTap(Protocol):
    def __call__(self, worker: WorkerProcess | None, *arguments: str, **env: str) -> TapProcess: ...


@pytest.fixture
def start_tap(tmp_path: Path) -> Iterator[StartTap]:
    running: list[TapProcess] = []

    def start(worker: WorkerProcess | None, *arguments: str, **env: str) -> TapProcess:
        folder = tmp_path / f"tap-{len(running)}"
        folder.mkdir()
        where = {} if worker is None else {"PORT": str(worker.port)}
        running.append(TapProcess(folder, *arguments, **{**where, **env}))
        return running[-1]

    yield start
    for tap in running:
        tap.close()


@pytest.fixture
def worker(topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker) -> WorkerProcess:
    """Ready, with nothing to do yet."""
    started = start_worker(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url)
    started.wait_ready()
    return started


def one_of_each() -> list[Message]:
    fields: dict[str, Any] = {"traits": {"email": EMAIL}, "context": {"ip": "203.0.113.9"}}
    return [
        signal("evt_good", **fields),
        signal("evt_silent", **fields | {"context": {"consent": {"analytics": True}}}),
        signal("evt_video", event="Video Played", **fields),
        signal("evt_invalid", **fields | {"timestamp": None}),
        Message(b"jane.doe@acme.com is no Avro"),
        Message(None, key=b"k"),
    ]


def ends(pictures: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    return {(each["messageId"], each["outcome"], each["reason"]) for each in pictures}


def test_every_record_is_shown_with_its_outcome_and_reason_and_nobodys_data(
    cluster: Cluster, topic: str, worker: WorkerProcess, start_tap: StartTap
) -> None:
    tap, revealing = start_tap(worker, "--json"), start_tap(worker, "--json", "--reveal")
    tap.wait_watching()
    revealing.wait_watching()
    cluster.produce(topic, one_of_each())
    expected = {
        ("evt_good", "delivered", ""),
        ("evt_silent", "filtered", "no-consent"),
        ("evt_video", "filtered", "unmapped"),
        ("evt_invalid", "dead_lettered", "invalid-event"),
        ("", "dead_lettered", "undecodable"),
        ("", "filtered", "null-value"),
    }
    for each in (tap, revealing):
        wait_until(lambda each=each: ends(each.pictures()) >= expected, 30, "all six")  # type: ignore[misc]  # bound now
        assert ends(each.pictures()) == expected
        assert sorted(picture["offset"] for picture in each.pictures()) == [0, 1, 2, 3, 4, 5]
    [good] = [picture for picture in tap.pictures() if picture["messageId"] == "evt_good"]
    assert good["input"]["traits"] == good["payload"]["traits"] == {"email": "j***@a***.com"}
    assert good["consent"] == {"analytics": True, "marketing": True}
    assert (good["answer"]["status"], good["answer"]["attempts"]) == ("200", 1)
    for secret in (EMAIL, "203.0.113.9"):
        assert secret not in tap.out.read_text()
        assert revealing.out.read_text().count(secret) >= 2, "in the input and in the payload"
    assert tap.interrupt() == 0
    assert "Traceback" not in tap.err.read_text()


def test_an_event_that_is_retried_is_shown_so_before_it_is_delivered(
    cluster: Cluster, topic: str, sandbox: Sandbox, worker: WorkerProcess, start_tap: StartTap
) -> None:
    tap = start_tap(worker, "--count", "2", "--message-id", "evt_late")
    tap.wait_watching()
    put_faults(sandbox, {"status": 429, "count": 1})
    cluster.produce(topic, [signal("evt_late"), signal("evt_other")])
    assert tap.wait_exit() == 0
    retried, delivered = tap.lines()
    assert retried.split()[1:5] == ["retried", "lead_generated", "evt_late", f"{topic}[0]@0"]
    assert retried.endswith("  HTTP 429")
    assert delivered.split()[1:5] == ["delivered", "lead_generated", "evt_late", f"{topic}[0]@0"]
    assert delivered.endswith("  HTTP 200 attempt 2")


def test_an_event_that_the_api_refuses_is_shown_with_all_four_stages(
    cluster: Cluster, topic: str, sandbox: Sandbox, worker: WorkerProcess, start_tap: StartTap
) -> None:
    tap = start_tap(worker, "--stages", "--outcome", "dead-lettered", "--count", "1")
    tap.wait_watching()
    put_faults(sandbox, {"status": 400, "message_id": "evt_poison"})
    cluster.produce(topic, [signal("evt_good"), signal("evt_poison", traits={"email": EMAIL})])
    assert tap.wait_exit() == 0
    first, *rest = tap.lines()
    assert " dead_lettered  Lead Generated      evt_poison " in first
    assert " rejected (alone in its body) HTTP 400" in first
    assert [line.split()[0] for line in rest if line[4] != " "] == ["input", "consent", "payload", "answer"]
    assert '"email": "j***@a***.com"' in tap.out.read_text()
    assert delivered_ids(sandbox) == {"evt_good": 1}


def test_a_held_worker_says_why_it_shows_nothing(
    cluster: Cluster, topic: str, sandbox: Sandbox, worker: WorkerProcess, start_tap: StartTap
) -> None:
    put_faults(sandbox, {"status": 401})
    cluster.produce(topic, [signal("evt_0")])
    wait_until(lambda: worker.is_held("unauthorized"), 30, "the hold")
    tap = start_tap(worker, "--seconds", "2")
    assert tap.wait_exit() == 0
    assert "The worker is not ready: held (unauthorized)" in tap.err.read_text()


def test_a_worker_that_restarts_is_found_again(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker, start_tap: StartTap
) -> None:
    settings = {
        "KAFKA_TOPICS": topic,
        "KAFKA_CONSUMER_GROUP": group,
        "DREAMDATA_URL": sandbox.url,
        "PORT": str(free_port()),
    }
    first = start_worker(**settings)
    first.wait_ready()
    tap = start_tap(first, "--json")
    tap.wait_watching()
    assert first.terminate() == 0
    assert first.logged("library.logged") == [], "the stream has ended by itself"
    second = start_worker(**settings)
    wait_until(lambda: "What happened in between was not seen" in tap.err.read_text(), 30, "the word about it")
    second.wait_ready()
    assert [line for line in tap.err.read_text().splitlines() if not line.startswith("The worker is ")] == [
        "Connected again.",
        "What happened in between was not seen.",
    ]
    assert tap.err.read_text().count("The worker is gone") == 1
    cluster.produce(topic, [signal("evt_0")])
    wait_until(lambda: ends(tap.pictures()) == {("evt_0", "delivered", "")}, 30, "the event")
    assert tap.interrupt() == 0


def test_a_watcher_that_never_reads_stops_no_delivery(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, worker: WorkerProcess
) -> None:
    with socket.create_connection(("127.0.0.1", worker.port)) as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        silent.sendall(b"GET /events?outcome=pending&outcome=delivered HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert silent.recv(12) == b"HTTP/1.1 200"
        cluster.produce(topic, signals(20_000))
        wait_until(lambda: settled(cluster, group, topic), 60, "all is committed")
        assert set(delivered_ids(sandbox)) == ids(20_000)
        assert worker.terminate() == 0


def test_where_no_worker_runs_it_says_so_in_a_sentence(start_tap: StartTap) -> None:
    tap = start_tap(None, "--url", f"http://127.0.0.1:{free_port()}")
    assert tap.wait_exit() == 1
    [sentence] = tap.err.read_text().splitlines()
    assert sentence.startswith("Error: Nothing answers at http://127.0.0.1:")


@pytest.mark.parametrize(
    ("host", "asked"),
    [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]"), ("localhost", "localhost")],
)
def test_it_looks_where_a_worker_with_these_settings_listens(host: str, asked: str, start_tap: StartTap) -> None:
    port = str(free_port())
    tap = start_tap(None, HOST=host, PORT=port)
    assert tap.wait_exit() == 1
    assert f"Nothing answers at http://{asked}:{port} " in tap.err.read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--outcome", "gone"], "There is no outcome 'gone'; there are pending, ", id="outcome"),
        pytest.param(["--reason", "gone"], "There is no reason 'gone'; there are null-value, ", id="reason"),
        pytest.param(["--count", "0"], "--count", id="count"),
    ],
)
def test_wrong_arguments_are_exit_code_2_and_say_what_there_is(
    arguments: list[str], words: str, worker: WorkerProcess, start_tap: StartTap
) -> None:
    tap = start_tap(worker, *arguments)
    assert tap.wait_exit() == 2
    assert words in tap.err.read_text()


def test_a_port_that_only_the_worker_knows_is_asked_for(start_tap: StartTap) -> None:
    tap = start_tap(None, PORT="0")
    assert tap.wait_exit() == 2
    assert "--url says which" in tap.err.read_text()
