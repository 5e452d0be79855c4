"""The watcher's end against servers that answer byte by byte: breaks, refusals, and what is no worker at all."""

from collections.abc import Iterator

import pytest

from tests.fakes import Client, RawServer, headers_of
from worker.tap.client import Kind, Message, QueryRefusedError, TapError, Watcher

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nConnection: close\r\n\r\n"
STATE = b'event: state\nid: abc-0\ndata: {"ready": true, "reasons": [], "missed": false}\n\n'


def moment(number: int) -> bytes:
    return b'id: abc-%d\ndata: {"offset": %d}\n\n' % (number, number)


def watching(server: RawServer, *, token: str | None = None, path: str = "") -> Iterator[Message]:
    return Watcher(server.url + path, token, [("event", "Lead Generated"), ("reveal", "false")]).messages()


def kinds(messages: Iterator[Message], count: int) -> list[Kind]:
    return [next(messages).kind for _ in range(count)]


def test_messages_come_as_they_were_sent_and_the_request_says_what_is_wanted() -> None:
    def script(client: Client) -> None:
        client.read_request()
        client.send(
            HEAD + STATE + moment(1) + b": still here\n\n" + b'event: dropped\nid: abc-5\ndata: {"dropped": 4}\n\n'
        )
        client.keep_silent()

    with RawServer(script) as server:
        messages = watching(server, token="geheim", path="/behind/a/proxy/")
        found = [next(messages) for _ in range(4)]
        assert [message.kind for message in found] == [Kind.STATE, Kind.MOMENT, Kind.HEARTBEAT, Kind.DROPPED]
        assert (found[1].text, found[1].content, found[3].content) == ('{"offset": 1}', {"offset": 1}, {"dropped": 4})
        [request] = server.requests
        assert request.startswith(b"GET /behind/a/proxy/events?event=Lead+Generated&reveal=false HTTP/1.1\r\n")
        assert headers_of(request)["authorization"] == "Bearer geheim"
        assert "last-event-id" not in headers_of(request)


def test_a_kind_of_message_that_is_not_known_is_passed_over() -> None:
    def script(client: Client) -> None:
        client.read_request()
        client.send(HEAD + b"event: news\ndata: []\n\n" + moment(1))
        client.keep_silent()

    with RawServer(script) as server:
        assert kinds(watching(server), 1) == [Kind.MOMENT]


def test_a_stream_that_breaks_off_is_taken_up_behind_its_last_whole_message() -> None:
    scripts = iter([HEAD + STATE + moment(1) + b'id: abc-2\ndata: {"offs', HEAD + STATE + moment(2)])

    def script(client: Client) -> None:
        client.read_request()
        client.send(next(scripts))

    with RawServer(script) as server:
        assert kinds(watching(server), 6) == [
            Kind.STATE,
            Kind.MOMENT,
            Kind.LOST,
            Kind.FOUND,
            Kind.STATE,
            Kind.MOMENT,
        ]
        assert headers_of(server.requests[1])["last-event-id"] == "abc-1"


def test_a_worker_that_is_gone_is_looked_for_until_it_is_back() -> None:
    scripts = iter([HEAD + STATE, b"", HEAD, HEAD + STATE])

    def script(client: Client) -> None:
        client.read_request()
        client.send(next(scripts))

    with RawServer(script) as server:
        assert kinds(watching(server), 6) == [
            Kind.STATE,
            Kind.LOST,
            Kind.HEARTBEAT,
            Kind.HEARTBEAT,
            Kind.FOUND,
            Kind.STATE,
        ]
        assert server.connections == 4


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        pytest.param(b"403 Forbidden\r\nContent-Length: 0", TapError, "CONSOLE_TOKEN", id="no token"),
        pytest.param(b"404 Not Found\r\nContent-Length: 0", TapError, "it is no worker", id="another server"),
        pytest.param(b"200 OK\r\nContent-Length: 0", TapError, "it is no worker", id="a page, but no stream"),
        pytest.param(b"400 Bad Request\r\nContent-Length: 7\r\n\r\nBecause", QueryRefusedError, "Because", id="filter"),
        pytest.param(b"503 No\r\nContent-Length: 7\r\n\r\nTooMany", TapError, "answers 503: TooMany", id="too many"),
    ],
)
def test_a_refusal_is_one_sentence_that_says_what_to_do(answer: bytes, error: type[TapError], words: str) -> None:
    def script(client: Client) -> None:
        client.read_request()
        client.send(b"HTTP/1.1 " + answer + b"\r\n\r\n")

    with RawServer(script) as server, pytest.raises(error, match=words):
        next(watching(server))


def test_where_nobody_listens_it_says_so_and_what_to_set() -> None:
    with RawServer(lambda client: client.keep_silent()) as server:
        port = server.port
    with pytest.raises(TapError, match=f"Nothing answers at http://127.0.0.1:{port} .*HOST and PORT"):
        next(Watcher(f"http://127.0.0.1:{port}", None, []).messages())


@pytest.mark.parametrize("url", ["127.0.0.1:8082", "ftp://127.0.0.1", "http://"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(TapError, match="is no address of a worker"):
        Watcher(url, None, [])
