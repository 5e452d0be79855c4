import ssl
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address
from itertools import repeat
from pathlib import Path
from threading import Barrier, Thread

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.fakes import OK, Client, RawServer, headers_of
from worker import __version__
from worker.api import Api
from worker.core.outcomes import Answer

BODY = b'{"batch": []}'
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
MakeApi = Callable[..., Api]


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def make_api() -> Iterator[MakeApi]:
    apis = []

    def make(url: str, key: Callable[[], str] = lambda: "abc123", timeout_seconds: float = 5) -> Api:
        apis.append(Api(url, key, timeout_seconds))
        return apis[-1]

    yield make
    for api in apis:
        api.close()


def answering(*answers: bytes) -> Callable[[Client], None]:
    """Answers a connection's requests one after the other, then hangs up."""

    def script(client: Client) -> None:
        for answer in answers:
            if not client.read_request():
                return
            client.send(answer)

    return script


def answer_to(make_api: MakeApi, answer: bytes) -> Answer:
    with RawServer(answering(answer)) as server:
        return make_api(server.url).post(BODY)


def with_text(status: str, text: bytes, *fields: str) -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(text)}", *fields])
    return head.encode() + b"\r\n\r\n" + text


def test_the_body_goes_out_as_it_is_to_the_batch_address(make_api: MakeApi) -> None:
    with RawServer(answering(OK)) as server:
        make_api(f"{server.url}/").post(BODY)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/batch HTTP/1.1\r\n")
    assert body == BODY


def test_the_headers_are_those_of_the_contract(make_api: MakeApi) -> None:
    with RawServer(answering(OK)) as server:
        make_api(server.url).post(BODY)
    assert headers_of(server.requests[0]) == {
        "host": f"127.0.0.1:{server.port}",
        "authorization": "Basic YWJjMTIzOg==",
        "content-type": "application/json",
        "content-length": str(len(BODY)),
        "user-agent": f"dreamdata-worker/{__version__}",
        "accept": "*/*",
        "accept-encoding": "identity",
    }


def test_the_key_is_asked_before_every_request(make_api: MakeApi) -> None:
    keys = iter(["first", "second"])
    with RawServer(answering(OK, OK)) as server:
        api = make_api(server.url, key=lambda: next(keys))
        api.post(BODY)
        api.post(BODY)
    assert [headers_of(each)["authorization"] for each in server.requests] == ["Basic Zmlyc3Q6", "Basic c2Vjb25kOg=="]


def test_a_key_with_unusual_characters_is_sent_as_utf_8(make_api: MakeApi) -> None:
    with RawServer(answering(OK)) as server:
        make_api(server.url, key=lambda: "ключ").post(BODY)
    assert headers_of(server.requests[0])["authorization"] == "Basic 0LrQu9GO0Yc6"


def test_a_netrc_for_the_host_changes_nothing(
    make_api: MakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password word\ndefault login other password word\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with RawServer(answering(OK)) as server:
        make_api(server.url).post(BODY)
    assert headers_of(server.requests[0])["authorization"] == "Basic YWJjMTIzOg=="


def test_a_cookie_is_not_sent_back(make_api: MakeApi) -> None:
    with RawServer(answering(with_text("200 OK", b"", "Set-Cookie: a=b; Path=/"), OK)) as server:
        api = make_api(server.url)
        api.post(BODY)
        api.post(BODY)
    assert [headers_of(each).get("cookie") for each in server.requests] == [None, None]


def test_a_connection_is_used_again(make_api: MakeApi) -> None:
    with RawServer(answering(*[with_text("400 Bad Request", b"x" * 60_000)] * 3)) as server:
        api = make_api(server.url)
        answers = [api.post(BODY).status for _ in range(3)]
    assert answers == [400, 400, 400]
    assert server.connections == 1


def test_every_thread_has_a_connection_of_its_own(make_api: MakeApi) -> None:
    asked, answered = Barrier(3, timeout=5), Barrier(3, timeout=5)

    def script(client: Client) -> None:
        while client.read_request():
            asked.wait()
            client.send(OK)

    with RawServer(script) as server:
        api = make_api(server.url)
        threads = [Thread(target=lambda: (api.post(BODY), answered.wait(), api.post(BODY))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(server.requests) == 6
    assert server.connections == 3


def test_a_redirect_is_an_answer_and_is_not_followed(make_api: MakeApi) -> None:
    with RawServer(answering(OK)) as elsewhere:
        answer = answer_to(make_api, with_text("302 Found", b"gone", f"Location: {elsewhere.url}/"))
    assert (answer.status, answer.body, elsewhere.requests) == (302, "gone", [])


def test_the_text_of_a_refusal_is_kept(make_api: MakeApi) -> None:
    assert answer_to(make_api, with_text("400 Bad Request", "schön".encode())).body == "schön"


def test_the_text_of_a_2xx_is_ignored(make_api: MakeApi) -> None:
    assert answer_to(make_api, with_text("202 Accepted", b"thanks")).body == ""


def test_a_long_text_is_cut_to_1024_characters(make_api: MakeApi) -> None:
    assert answer_to(make_api, with_text("400 Bad Request", "ü".encode() * 50_000)).body == "ü" * 1024


def test_a_text_that_is_not_utf_8_is_kept_as_far_as_it_is(make_api: MakeApi) -> None:
    assert answer_to(make_api, with_text("400 Bad Request", b"a\xffb")).body == "a�b"


@pytest.mark.parametrize("echo", ["abc123", "YWJjMTIzOg=="], ids=["key", "header"])
def test_a_text_that_repeats_the_key_is_kept_without_it(make_api: MakeApi, echo: str) -> None:
    assert answer_to(make_api, with_text("400 Bad Request", f"you sent {echo}".encode())).body == "you sent ***"


def test_a_chunked_text_is_read(make_api: MakeApi) -> None:
    answer = answer_to(
        make_api, b"HTTP/1.1 422 x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbad\r\n4\r\n one\r\n0\r\n\r\n"
    )
    assert (answer.status, answer.body) == (422, "bad one")


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(b"Content-Length: 100\r\n\r\nshort", id="breaks off"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", id="broken chunk"),
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_a_status_stands_although_its_text_breaks_off(make_api: MakeApi, status: int, rest: bytes) -> None:
    assert answer_to(make_api, f"HTTP/1.1 {status} x\r\n".encode() + rest).status == status


HTTP_NOW = "Sat, 06 Jun 2026 11:11:14 GMT"


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        pytest.param([], None, id="missing"),
        pytest.param(["Retry-After: 5"], 5, id="seconds"),
        pytest.param(["Retry-After: 0.5"], 0.5, id="decimals"),
        pytest.param(["Retry-After: 3601"], 3600, id="over an hour"),
        pytest.param([f"Retry-After: {'9' * 5000}"], 3600, id="5000 digits"),
        pytest.param(["Retry-After: 0"], None, id="0"),
        pytest.param(["Retry-After: -5"], None, id="negative"),
        pytest.param(["Retry-After: inf"], None, id="infinity"),
        pytest.param(["Retry-After: nan"], None, id="not a number"),
        pytest.param(["Retry-After: 1e3"], None, id="exponent"),
        pytest.param(["Retry-After: soon"], None, id="word"),
        pytest.param(["Retry-After: "], None, id="empty"),
        pytest.param(["Retry-After: \xb2"], None, id="superscript"),
        pytest.param(["Retry-After: 5", "Retry-After: 6"], None, id="twice"),
        pytest.param([f"Date: {HTTP_NOW}", "Retry-After: Sat, 06 Jun 2026 11:11:44 GMT"], 30, id="date"),
        pytest.param([f"Date: {HTTP_NOW}", "Retry-After: Saturday, 06-Jun-26 11:11:44 GMT"], 30, id="old date"),
        pytest.param([f"Date: {HTTP_NOW}", "Retry-After: Sat Jun  6 11:11:44 2026"], 30, id="date in C's form"),
        pytest.param([f"Date: {HTTP_NOW}", "Retry-After: Sun, 07 Jun 2026 11:11:44 GMT"], 3600, id="date tomorrow"),
        pytest.param([f"Date: {HTTP_NOW}", f"Retry-After: {HTTP_NOW}"], None, id="date of now"),
        pytest.param([f"Date: {HTTP_NOW}", "Retry-After: Fri, 05 Jun 2026 11:11:44 GMT"], None, id="date gone by"),
        pytest.param([f"Date: {HTTP_NOW}", "Retry-After: Sat, 99 Jun 2026 11:11:44 GMT"], None, id="no such date"),
    ],
)
def test_retry_after_is_understood(make_api: MakeApi, fields: list[str], seconds: float | None) -> None:
    head = "\r\n".join(["HTTP/1.1 429 x", "Content-Length: 0", *fields]).encode("latin-1")
    assert answer_to(make_api, head + b"\r\n\r\n").retry_after == seconds


@pytest.mark.parametrize("fields", [[], ["Date: yesterday"]], ids=["no Date", "unreadable Date"])
def test_a_retry_after_date_counts_from_our_clock_where_the_answer_has_none(
    make_api: MakeApi, fields: list[str]
) -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    answer = answer_to(make_api, with_text("503 x", b"", f"Retry-After: {until}", *fields))
    assert answer.retry_after is not None
    assert 90 < answer.retry_after <= 100


def test_a_retry_after_date_without_zone_is_utc_wherever_we_are(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "XYZ+5")
    time.tzset()
    try:
        answer = answer_to(
            make_api, with_text("503 x", b"", f"Date: {HTTP_NOW}", "Retry-After: Sat Jun  6 11:11:44 2026")
        )
    finally:
        monkeypatch.undo()
        time.tzset()
    assert answer.retry_after == 30


def test_retry_after_is_read_on_any_status(make_api: MakeApi) -> None:
    assert answer_to(make_api, with_text("503 x", b"", "Retry-After: 7")).retry_after == 7


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        pytest.param(lambda client: None, "", id="hangs up at once"),
        pytest.param(lambda client: client.read_request(), "RemoteDisconnected", id="hangs up after the request"),
        pytest.param(answering(b"SSH-2.0-OpenSSH_9.2\r\n"), "BadStatusLine", id="another protocol"),
        pytest.param(answering(b"HTTP/1.1 20"), "BadStatusLine", id="half a status line"),
        pytest.param(answering(b"\x00" * 100_000), "LineTooLong", id="zeros"),
        pytest.param(answering(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500), "got more than 100 headers", id="headers"),
    ],
)
def test_a_server_that_speaks_no_http_gave_no_answer(
    make_api: MakeApi, script: Callable[[Client], None], reason: str
) -> None:
    with RawServer(script) as server:
        answer = make_api(server.url).post(BODY)
    assert (answer.status, answer.failure) == (None, "no-answer")
    assert reason in answer.body


def test_a_port_where_nobody_listens_gave_no_answer(make_api: MakeApi) -> None:
    with RawServer(answering()) as server:
        url = server.url
    answer = make_api(url).post(BODY)
    assert (answer.status, answer.failure) == (None, "no-answer")
    assert answer.body.startswith("ConnectionRefusedError: ")


@pytest.mark.parametrize("host", ["a" * 64, "..", "[::1"], ids=["long", "dots", "bracket"])
def test_a_host_that_cannot_be_one_gave_no_answer(make_api: MakeApi, host: str) -> None:
    answer = make_api(f"http://{host}:9").post(BODY)
    assert (answer.status, answer.failure) == (None, "no-answer")


def test_a_reason_never_shows_the_password_of_a_proxy(make_api: MakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://jane:secret@proxy:99999")
    answer = make_api("http://api.acme.com").post(BODY)
    assert answer.failure == "no-answer"
    assert "proxy:99999" in answer.body
    assert "secret" not in answer.body


def test_a_kept_connection_that_dies_under_a_request_is_not_used_for_a_second_try(make_api: MakeApi) -> None:
    def script(client: Client) -> None:
        client.read_request()
        client.send(OK)
        client.read_request()

    with RawServer(script) as server:
        api = make_api(server.url)
        answers = [api.post(BODY).label, api.post(BODY).label]
    assert answers == ["200", "no-answer"]
    assert len(server.requests) == 2


def test_after_a_dead_connection_the_next_request_takes_a_new_one(make_api: MakeApi) -> None:
    def script(client: Client) -> None:
        client.read_request()
        if server.connections > 1:
            client.send(OK)

    with RawServer(script) as server:
        api = make_api(server.url)
        answers = [api.post(BODY).label, api.post(BODY).label]
    assert answers == ["no-answer", "200"]


def test_an_answer_is_stamped_with_the_clock(make_api: MakeApi) -> None:
    before = time.monotonic()
    answer = answer_to(make_api, OK)
    assert before <= answer.started_at <= answer.ended_at <= time.monotonic()


def test_an_early_answer_to_a_large_body_is_heard(make_api: MakeApi) -> None:
    def script(client: Client) -> None:
        client.read_request()
        client.send(with_text("413 Too Large", b"too large"))

    with RawServer(script) as server:
        assert make_api(server.url).post(b"x" * 500_000).status == 413


TIMEOUT_SECONDS = 0.4


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(lambda client: client.keep_silent(), id="reads nothing"),
        pytest.param(lambda client: (client.read_request(), client.keep_silent()), id="silence"),
        pytest.param(lambda client: client.drip(repeat(b"H"), 0.05), id="dripping status line"),
        pytest.param(
            lambda client: client.drip([b"HTTP/1.1 200 OK\r\n", *[b"A: b\r\n"] * 90], 0.05), id="dripping headers"
        ),
        pytest.param(lambda client: client.drip(repeat(b"HTTP/1.1 100 x\r\n\r\n"), 0.05), id="interim answers"),
    ],
)
def test_a_request_ends_in_time(make_api: MakeApi, script: Callable[[Client], None]) -> None:
    with RawServer(script) as server:
        answer = make_api(server.url, timeout_seconds=TIMEOUT_SECONDS).post(b"x" * 20_000_000)
    assert (answer.status, answer.failure) == (None, "timeout")
    assert answer.ended_at - answer.started_at < 2 * TIMEOUT_SECONDS


@pytest.mark.parametrize(
    ("head", "every_seconds"),
    [
        pytest.param(b"HTTP/1.1 %d x\r\n\r\n", 0.05, id="dripping"),
        pytest.param(b"HTTP/1.1 %d x\r\nContent-Length: 99999\r\n\r\n", 0.05, id="dripping with a length"),
        pytest.param(b"HTTP/1.1 %d x\r\n\r\n", 0, id="endless"),
        pytest.param(b"HTTP/1.1 %d x\r\nContent-Length: 99999\r\n\r\n", 10, id="silent"),
        pytest.param(b"HTTP/1.1 %d x\r\nLocation: /\r\n\r\n", 0.05, id="dripping redirect"),
    ],
)
@pytest.mark.parametrize("status", [200, 302, 400])
def test_a_text_without_end_does_not_hold_the_thread(
    make_api: MakeApi, status: int, head: bytes, every_seconds: float
) -> None:
    def script(client: Client) -> None:
        client.read_request()
        client.send(head % status)
        client.drip(repeat(b"text" * (1000 if every_seconds == 0 else 1)), every_seconds)

    with RawServer(script) as server:
        answer = make_api(server.url, timeout_seconds=TIMEOUT_SECONDS).post(BODY)
    assert answer.status == status
    assert answer.body.startswith("text" if status != 200 else "")
    assert answer.ended_at - answer.started_at < 2 * TIMEOUT_SECONDS


def test_a_text_without_end_is_left_once_reading_it_costs_more_than_a_new_connection(make_api: MakeApi) -> None:
    def script(client: Client) -> None:
        client.read_request()
        client.send(b"HTTP/1.1 400 x\r\n\r\n")
        client.drip(repeat(b"text" * 1000), 0)

    with RawServer(script) as server:
        answer = make_api(server.url, timeout_seconds=30).post(BODY)
    assert answer.ended_at - answer.started_at < 2


def test_a_slow_reader_has_the_whole_request_time_out_not_only_the_connect_time_out() -> None:
    def script(client: Client) -> None:
        client.wait(0.5)
        client.read_request()
        client.send(OK)

    with RawServer(script) as server:
        api = Api(server.url, lambda: "abc123", timeout_seconds=10, connect_timeout_seconds=0.2)
        answer = api.post(b"x" * 20_000_000)
        api.close()
    assert answer.status == 200


def test_what_is_left_of_one_deadline_does_not_bound_the_next_request() -> None:
    def script(client: Client) -> None:
        client.read_request()
        client.wait(0.7)
        client.send(OK)
        client.read_request()
        client.wait(0.7)
        client.send(OK)

    with RawServer(script) as server:
        api = Api(server.url, lambda: "abc123", timeout_seconds=1)
        answers = [api.post(b"x" * 10_000_000).label for _ in range(2)]
        api.close()
    assert answers == ["200", "200"]


def test_a_proxy_is_used(make_api: MakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(answering(OK)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        answer = make_api("http://api.acme.com").post(BODY)
    assert answer.status == 200
    assert proxy.requests[0].startswith(b"POST http://api.acme.com/v1/batch HTTP/1.1\r\n")


def test_a_tls_proxy_is_asked_for_a_tunnel(make_api: MakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(answering(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        answer = make_api("https://api.acme.com").post(BODY)
    assert proxy.requests[0].startswith(b"CONNECT api.acme.com:443 HTTP/1.")
    assert b"YWJjMTIzOg" not in proxy.requests[0]
    assert answer.failure == "no-answer"
    assert "407" in answer.body


def test_no_proxy_is_honoured(make_api: MakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(answering(OK)) as server, RawServer(answering(OK)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert make_api(server.url).post(BODY).status == 200
    assert (len(server.requests), len(proxy.requests)) == (1, 0)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody trusts, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    address = ip_address("127.0.0.1")
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(address)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "certificate.pem"
    pem = serialization.Encoding.PEM
    file.write_bytes(
        certificate.public_bytes(pem)
        + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return file


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[RawServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with RawServer(answering(OK, OK), tls=context) as server:
        yield server


def test_a_certificate_that_is_not_trusted_gave_no_answer(make_api: MakeApi, tls_server: RawServer) -> None:
    answer = make_api(tls_server.url).post(BODY)
    assert answer.failure == "no-answer"
    assert answer.body.startswith("SSLCertVerificationError: ")
    assert tls_server.requests == []


def test_a_connection_that_fails_is_not_tried_again(make_api: MakeApi, tls_server: RawServer) -> None:
    make_api(tls_server.url).post(BODY)
    assert tls_server.connections == 1


def test_a_ca_bundle_of_the_environment_is_trusted(
    make_api: MakeApi, tls_server: RawServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    api = make_api(tls_server.url)
    assert [api.post(BODY).status, api.post(BODY).status] == [200, 200]
    assert tls_server.connections == 1


def test_a_ca_bundle_that_is_missing_gave_no_answer(
    make_api: MakeApi, tls_server: RawServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    answer = make_api(tls_server.url).post(BODY)
    assert answer.failure == "no-answer"
    assert "missing.pem" in answer.body
