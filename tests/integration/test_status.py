"""The status server on a real socket of this machine."""

import http.client
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.builders import tap
from worker.errors import SettingsError
from worker.metrics import Metrics
from worker.status import StatusServer
from worker.tap.pictures import Pictures


def server(host: str = "127.0.0.1", port: int = 0) -> StatusServer:
    return StatusServer(
        host,
        port,
        alive=lambda: True,
        reasons=lambda: ["restoring"],
        metrics=Metrics(),
        tap=tap(),
        pictures=Pictures(()),
        console_token=None,
    )


@pytest.fixture
def running() -> Iterator[StatusServer]:
    status = server()
    status.start()
    yield status
    status.stop()


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_it_answers_as_soon_as_start_returns(running: StatusServer) -> None:
    status, body = get(running.port, "/readyz")
    assert (status, json.loads(body)) == (503, {"ready": False, "reasons": ["restoring"]})


def test_a_stopped_server_s_port_is_free_at_once() -> None:
    first = server()
    first.start()
    get(first.port, "/metrics")
    first.stop()
    second = server(port=first.port)
    second.start()
    second.stop()
    assert second.port == first.port


def test_an_open_connection_does_not_hold_the_stop_up() -> None:
    status = server()
    status.start()
    with socket.create_connection(("127.0.0.1", status.port)):
        started_at = time.monotonic()
        status.stop()
        assert time.monotonic() - started_at < 2
    assert not [thread for thread in threading.enumerate() if thread.name == "status"]


def test_a_watcher_of_the_stream_is_let_go_in_time_and_without_a_word_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    status = server()
    status.start()
    connection = http.client.HTTPConnection("127.0.0.1", status.port, timeout=5)
    connection.request("GET", "/events")
    response = connection.getresponse()
    assert response.readline() == b"event: state\n"
    started_at = time.monotonic()
    status.stop()
    assert time.monotonic() - started_at < 2
    assert response.read().endswith(b"\n\n"), "the stream ends between two messages"
    connection.close()
    assert caplog.records == []


def test_stop_may_be_called_twice_and_without_a_start() -> None:
    status = server()
    status.stop()
    status.stop()


def test_a_port_that_is_taken_is_a_problem_with_the_settings(running: StatusServer) -> None:
    with pytest.raises(SettingsError, match=f"HOST and PORT are 127.0.0.1 and {running.port}, .* in use"):
        server(port=running.port).start()


def test_a_host_that_is_not_this_machine_s_is_a_problem_with_the_settings() -> None:
    with pytest.raises(SettingsError, match=r"HOST and PORT are 203\.0\.113\.9"):
        server(host="203.0.113.9").start()


def test_it_leaves_the_process_s_signals_alone() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    status = server()
    status.start()
    during = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    status.stop()
    assert during == before
