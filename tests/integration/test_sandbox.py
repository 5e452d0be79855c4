import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html import escape
from http.client import RemoteDisconnected
from pathlib import Path

import pytest

from tests.fakes import Reply, call, delivered_ids, put_faults
from tests.integration.harness import wait_until
from worker.api import Api
from worker.sandbox import Fault, Sandbox

JSON = {"Content-Type": "application/json"}
AUTHORIZED = {**JSON, "Authorization": "Basic YWJjMTIzOg=="}  # abc123


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(key="abc123") as sandbox:
        yield sandbox


def body_of(*message_ids: str, **fields: object) -> bytes:
    event = {"type": "page", "anonymousId": "df_8f2a1c9e", "timestamp": "2026-06-06T11:11:14.000Z"} | fields
    items = [event | {"messageId": message_id} for message_id in message_ids]
    return json.dumps({"messageId": "batch_1", "sentAt": "2026-06-06T11:11:15.120Z", "batch": items}).encode()


def post(sandbox: Sandbox, *message_ids: str) -> Reply:
    return call(sandbox.url, "POST", "/v1/batch", body_of(*message_ids), AUTHORIZED)


def test_a_good_batch_is_taken(sandbox: Sandbox) -> None:
    reply = post(sandbox, "evt_1", "evt_2")
    assert (reply.status, reply.json()) == (200, {"success": True})
    assert delivered_ids(sandbox) == {"evt_1": 1, "evt_2": 1}


def test_one_bad_item_refuses_the_whole_batch(sandbox: Sandbox) -> None:
    body = body_of("evt_1", "evt_2").replace(b'"messageId": "evt_2"', b'"messageId": "evt_2", "timestamp": "now"')
    reply = call(sandbox.url, "POST", "/v1/batch", body, AUTHORIZED)
    assert reply.status == 400
    assert (reply.json()["index"], reply.json()["messageId"]) == (1, "evt_2")
    assert delivered_ids(sandbox) == {}


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(None, id="missing"),
        pytest.param("Basic eHl6Og==", id="another key"),
        pytest.param("Basic YWJjMTIzOnB3", id="a password"),
        pytest.param("Basic YWJjMTIz", id="no colon"),
        pytest.param("Basic Og==", id="empty key"),
        pytest.param("Basic %%%", id="no base64"),
        pytest.param("Bearer YWJjMTIzOg==", id="another scheme"),
    ],
)
def test_a_wrong_key_is_refused(sandbox: Sandbox, header: str | None) -> None:
    headers = JSON if header is None else {**JSON, "Authorization": header}
    reply = call(sandbox.url, "POST", "/v1/batch", body_of("evt_1"), headers)
    assert reply.status == 401
    assert delivered_ids(sandbox) == {}


def test_any_key_is_accepted_where_none_is_set() -> None:
    with Sandbox() as sandbox:
        assert post(sandbox, "evt_1").status == 200
        empty = {**JSON, "Authorization": "Basic Og=="}
        assert call(sandbox.url, "POST", "/v1/batch", body_of("evt_2"), empty).status == 401


def test_a_key_can_be_rotated_while_it_runs(sandbox: Sandbox) -> None:
    sandbox.key = "next"
    assert post(sandbox, "evt_1").status == 401


@pytest.mark.parametrize("content_type", ["text/plain", "", "application/jsonp"])
def test_a_body_that_is_not_called_json_is_refused(sandbox: Sandbox, content_type: str) -> None:
    headers = {**AUTHORIZED, "Content-Type": content_type}
    assert call(sandbox.url, "POST", "/v1/batch", body_of("evt_1"), headers).status == 400


def test_a_charset_beside_the_content_type_is_fine(sandbox: Sandbox) -> None:
    headers = {**AUTHORIZED, "Content-Type": "Application/JSON; charset=utf-8"}
    assert call(sandbox.url, "POST", "/v1/batch", body_of("evt_1"), headers).status == 200


@pytest.mark.parametrize(
    ("length", "status"),
    [(499_999, 200), (500_000, 413), (5_000_000, 413)],
    ids=["one below the limit", "at the limit", "far over it"],
)
def test_a_body_of_the_limit_is_too_big(sandbox: Sandbox, length: int, status: int) -> None:
    assert call(sandbox.url, "POST", "/v1/batch", body_of("evt_1").ljust(length), AUTHORIZED).status == status
    assert sandbox.ledger.requests()[0].body_bytes == length


def test_a_client_that_hangs_up_halfway_leaves_nothing_behind(sandbox: Sandbox) -> None:
    with socket.create_connection(("127.0.0.1", int(sandbox.url.rpartition(":")[2]))) as client:
        client.sendall(b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + body_of("evt_1"))
    wait_until(sandbox.ledger.requests, 5, "the request to be noted")
    assert sandbox.ledger.requests()[0].status == 0
    assert delivered_ids(sandbox) == {}


@pytest.mark.parametrize("path", ["/v1/batch/", "/v1/track", "/batch", "/favicon.ico", "/docs"])
def test_an_unknown_address_is_404(sandbox: Sandbox, path: str) -> None:
    assert call(sandbox.url, "POST", path, body_of("evt_1"), AUTHORIZED).status == 404


def test_faults_are_answered_in_order_until_they_are_used_up(sandbox: Sandbox) -> None:
    put_faults(sandbox, {"status": 429, "retry_after": "5", "count": 2}, {"status": 503, "count": 1})
    replies = [post(sandbox, "evt_1") for _ in range(4)]
    assert [reply.status for reply in replies] == [429, 429, 503, 200]
    assert [reply.headers.get("retry-after") for reply in replies] == ["5", "5", None, None]
    assert delivered_ids(sandbox) == {"evt_1": 1}


def test_a_fault_comes_before_the_key(sandbox: Sandbox) -> None:
    put_faults(sandbox, {"status": 503})
    assert call(sandbox.url, "POST", "/v1/batch", body_of("evt_1"), JSON).status == 503


def test_a_fault_for_one_event_spares_the_others(sandbox: Sandbox) -> None:
    put_faults(sandbox, {"status": 400, "message_id": "evt_2"})
    assert [post(sandbox, *ids).status for ids in (["evt_1"], ["evt_1", "evt_2"], ["evt_3"])] == [200, 400, 200]


def test_a_delay_without_status_ends_in_the_usual_answer(sandbox: Sandbox) -> None:
    put_faults(sandbox, {"delay_ms": 100})
    assert post(sandbox, "evt_1").status == 200
    request = sandbox.ledger.requests()[0]
    assert request.ended_at.monotonic - request.started_at.monotonic >= 0.1


def test_status_0_hangs_up_without_an_answer(sandbox: Sandbox) -> None:
    put_faults(sandbox, {"status": 0, "count": 1})
    with pytest.raises((RemoteDisconnected, ConnectionResetError)):
        post(sandbox, "evt_1")
    assert sandbox.ledger.requests()[0].status == 0
    assert post(sandbox, "evt_2").status == 200


def test_an_ordered_200_loses_the_batch(sandbox: Sandbox) -> None:
    put_faults(sandbox, {"status": 200})
    assert post(sandbox, "evt_1").json() == {"success": True}
    assert delivered_ids(sandbox) == {}


def test_wrong_faults_are_refused_and_change_nothing(sandbox: Sandbox) -> None:
    put_faults(sandbox, {"status": 503})
    reply = call(sandbox.url, "PUT", "/faults", b'[{"status": 500}, {"statsu": 500}]')
    assert reply.status == 400
    assert "faults[1]" in reply.json()["problems"][0]
    assert sandbox.faults.left() == [Fault(status=503)]


def test_faults_can_be_looked_at_and_cleared(sandbox: Sandbox) -> None:
    put_faults(sandbox, {"status": 503, "count": 2})
    post(sandbox, "evt_1")
    expected = {"status": 503, "delay_ms": 0, "retry_after": None, "message_id": None, "count": 1}
    assert call(sandbox.url, "GET", "/faults").json() == [expected]
    assert call(sandbox.url, "PUT", "/faults", b"[]").json() == []
    assert post(sandbox, "evt_1").status == 200


def test_events_shows_what_was_accepted_and_counts_the_rest(sandbox: Sandbox) -> None:
    put_faults(sandbox, {"status": 429, "count": 2})
    for _ in range(3):
        post(sandbox, "evt_1")
    shown = call(sandbox.url, "GET", "/events").json()
    assert (shown["requests"], shown["accepted"], shown["rejected"]) == (3, 1, {"429": 2})
    assert [(each["sequence"], each["batch_message_id"]) for each in shown["events"]] == [(1, "batch_1")]
    assert shown["events"][0]["event"] == json.loads(body_of("evt_1"))["batch"][0]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("", ["a", "b", "c", "a"], id="all"),
        pytest.param("limit=2", ["c", "a"], id="the last"),
        pytest.param("after=1", ["b", "c", "a"], id="after one"),
        pytest.param("after=1&limit=2", ["b", "c"], id="the first after one"),
        pytest.param("message_id=a", ["a", "a"], id="one messageId"),
        pytest.param("after=99", [], id="after the end"),
    ],
)
def test_events_can_be_chosen(sandbox: Sandbox, query: str, expected: list[str]) -> None:
    post(sandbox, "a", "b", "c", "a")
    shown = call(sandbox.url, "GET", f"/events?{query}").json()
    assert [each["message_id"] for each in shown["events"]] == expected


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=x", "after=x"])
@pytest.mark.parametrize("path", ["/events", "/requests"])
def test_a_choice_that_makes_no_sense_is_refused(sandbox: Sandbox, path: str, query: str) -> None:
    assert call(sandbox.url, "GET", f"{path}?{query}").status == 400


def test_requests_shows_each_answer_and_never_the_key(sandbox: Sandbox) -> None:
    post(sandbox, "evt_1", "evt_2")
    call(sandbox.url, "POST", "/v1/batch", body_of("evt_3"), {**JSON, "Authorization": "Basic c2VjcmV0Og=="})
    reply = call(sandbox.url, "GET", "/requests")
    shown = [(each["status"], each["authorized"], each["message_ids"]) for each in reply.json()["latest"]]
    assert shown == [(200, True, ["evt_1", "evt_2"]), (401, False, ["evt_3"])]
    for secret in (b"abc123", b"secret", b"YWJjMTIzOg", b"c2VjcmV0Og"):
        assert secret not in reply.body


def test_bodies_are_kept_byte_for_byte(sandbox: Sandbox) -> None:
    post(sandbox, "evt_1")
    assert sandbox.ledger.bodies() == [body_of("evt_1")]


def test_answers_come_without_the_40_ms_of_a_delayed_acknowledgement(sandbox: Sandbox) -> None:
    api = Api(sandbox.url, lambda: "abc123", timeout_seconds=5)
    answers = [api.post(body_of(f"evt_{n}")) for n in range(25)]
    api.close()
    assert sorted(answer.ended_at - answer.started_at for answer in answers)[12] < 0.035


def test_delayed_requests_wait_side_by_side(sandbox: Sandbox) -> None:
    put_faults(sandbox, {"delay_ms": 300})
    started_at = time.monotonic()
    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(lambda n: post(sandbox, f"evt_{n}").status, range(20)))
    assert statuses == [200] * 20
    assert sandbox.ledger.max_in_flight == 20
    assert time.monotonic() - started_at < 3
    assert delivered_ids(sandbox) == {f"evt_{n}": 1 for n in range(20)}


def test_replacing_faults_releases_what_they_hold(sandbox: Sandbox) -> None:
    put_faults(sandbox, {"delay_ms": 60_000, "status": 503, "message_id": "evt_1"}, {"delay_ms": 60_000})
    with ThreadPoolExecutor(2) as pool:
        posts = [pool.submit(post, sandbox, message_id) for message_id in ("evt_1", "evt_2")]
        wait_until(lambda: sandbox.ledger.in_flight == 2, 10, "both are held")
        put_faults(sandbox, {"status": 400})
        assert [each.result(10).status for each in posts] == [503, 200], "answered as was ordered for them"


def test_stopping_does_not_wait_for_a_delay() -> None:
    sandbox = Sandbox(key="abc123")
    sandbox.start()
    put_faults(sandbox, {"delay_ms": 60_000})
    api = Api(sandbox.url, lambda: "abc123", timeout_seconds=30)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(api.post, body_of("evt_1"))
        wait_until(lambda: sandbox.ledger.in_flight == 1, 5, "the request to arrive")
        started_at = time.monotonic()
        sandbox.stop()
        assert answer.result(5).failure == "no-answer"
    api.close()
    assert time.monotonic() - started_at < 5
    assert delivered_ids(sandbox) == {}


def test_it_can_be_started_again_on_its_port() -> None:
    sandbox = Sandbox(key="abc123")
    with sandbox:
        url = sandbox.url
        put_faults(sandbox, {"delay_ms": 1})
        post(sandbox, "evt_1")
    with sandbox:
        post(sandbox, "evt_2")
    assert sandbox.url == url
    assert delivered_ids(sandbox) == {"evt_1": 1, "evt_2": 1}


def test_the_worker_gets_its_answers(sandbox: Sandbox) -> None:
    api = Api(sandbox.url, lambda: "abc123", timeout_seconds=5)
    put_faults(sandbox, {"status": 429, "retry_after": 7, "count": 1}, {"status": 0, "count": 1})
    answers = [api.post(body_of("evt_1")) for _ in range(3)]
    api.close()
    assert [(answer.label, answer.retry_after) for answer in answers] == [
        ("429", 7),
        ("no-answer", None),
        ("200", None),
    ]


MARKUP = '<script>document.title = "broken"</script><img src=x onerror=\'document.title = "broken"\'>'


def test_the_page_holds_nothing_that_was_sent(sandbox: Sandbox) -> None:
    post(sandbox, MARKUP)
    assert MARKUP.encode() not in call(sandbox.url, "GET", "/").body


def test_the_page_may_run_its_own_script_only(sandbox: Sandbox) -> None:
    policy = call(sandbox.url, "GET", "/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy


@pytest.mark.parametrize("path", ["/events", "/requests", "/faults"])
def test_what_was_sent_is_never_served_as_a_page(sandbox: Sandbox, path: str) -> None:
    headers = call(sandbox.url, "GET", path).headers
    assert headers["content-type"] == "application/json"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium to look at the page")
def test_markup_in_an_event_is_shown_as_text(sandbox: Sandbox) -> None:
    body = body_of(MARKUP, type="track", event=MARKUP, anonymousId=MARKUP)
    assert call(sandbox.url, "POST", "/v1/batch", body, AUTHORIZED).status == 200
    put_faults(sandbox, {"status": 400, "message_id": MARKUP})
    page = _seen_in_a_browser(sandbox.url)
    assert page.count(escape(MARKUP, quote=False)) >= 4
    assert MARKUP not in page
    assert "<title>broken" not in page


def _seen_in_a_browser(url: str) -> str:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
        options += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}"]
        command = ["chromium", *options, "--virtual-time-budget=3000", "--dump-dom", f"{url}/"]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def command(*arguments: str, **settings: str) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DREAMDATA_")}
    return subprocess.Popen(
        [sys.executable, "-m", "worker", "sandbox", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**kept, "PYTHONUNBUFFERED": "1", **settings},
    )


def url_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().partition(" listens on ")[2].partition(": open")[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_the_command_serves_until_it_is_stopped(number: signal.Signals) -> None:
    with command("--port", "0") as process:
        assert call(url_of(process), "POST", "/v1/batch", body_of("evt_1"), AUTHORIZED).status == 200
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize("as_file", [False, True], ids=["DREAMDATA_API_KEY", "DREAMDATA_API_KEY_FILE"])
def test_the_command_accepts_the_key_of_the_environment_only(as_file: bool, tmp_path: Path) -> None:  # noqa: FBT001  # pytest passes it by name
    file = tmp_path / "key"
    file.write_text("abc123\n")
    settings = {"DREAMDATA_API_KEY_FILE": str(file)} if as_file else {"DREAMDATA_API_KEY": "abc123"}
    with command("--port", "0", **settings) as process:
        url = url_of(process)
        other = {**JSON, "Authorization": "Basic eHl6Og=="}
        statuses = [call(url, "POST", "/v1/batch", body_of("evt_1"), each).status for each in (AUTHORIZED, other)]
        process.terminate()
        output, _ = process.communicate(timeout=10)
    assert statuses == [200, 401]
    assert "abc123" not in output


def test_a_port_that_is_taken_is_named(sandbox: Sandbox) -> None:
    port = sandbox.url.rpartition(":")[2]
    with command("--port", port) as process:
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 2
    assert f"port {port} on 127.0.0.1 is taken" in errors


def test_a_key_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with command("--port", "0", DREAMDATA_API_KEY_FILE=str(tmp_path / "missing")) as process:
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 2
    assert "DREAMDATA_API_KEY_FILE" in errors
    assert "missing" in errors


def test_the_help_has_an_example() -> None:
    with command("--help") as process:
        output, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "dreamdata-worker sandbox" in output
