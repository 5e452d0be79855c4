"""What tests share to play the outside: a server that misbehaves byte by byte, and short words for the sandbox.

The Dreamdata API itself is played by `worker.sandbox`, not by anything in here.
"""

import json
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from worker.sandbox import Sandbox

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@dataclass(frozen=True, slots=True)
class Reply:
    """What `call` got. `json()` is untyped on purpose: tests compare it."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def call(url: str, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Reply:
    """One request without any of the worker's own client, on a new connection."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


def put_faults(sandbox: Sandbox, *faults: Mapping[str, object]) -> None:
    reply = call(sandbox.url, "PUT", "/faults", json.dumps(faults).encode())
    assert reply.status == 200, reply.body


def delivered_ids(sandbox: Sandbox) -> Counter[str]:
    """How often each messageId was accepted: its keys are what arrived, counts over 1 are duplicates."""
    return Counter(event.message_id for event in sandbox.ledger.events())


def bodies(sandbox: Sandbox) -> dict[str, set[bytes]]:
    """Every event as it was sent, by messageId: one body, however often it was."""
    sent: dict[str, set[bytes]] = {}
    for event in sandbox.ledger.events():
        sent.setdefault(event.message_id, set()).add(event.json)
    return sent


Script = Callable[["Client"], None]


class RawServer:
    """Accepts connections on loopback and hands each to `script`, on a thread of its own; hangs up when it returns.

    `requests` holds what clients sent, as far as a script read it.
    """

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._clients: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self.requests: list[bytes] = []
        self.stopping = threading.Event()

    @property
    def connections(self) -> int:
        """How many there were in all."""
        return len(self._clients)

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        for client in self._clients:
            _hang_up(client)
        for thread in self._threads[1:]:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._clients.append(client)
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                wire = self._tls.wrap_socket(client, server_side=True) if self._tls else client
                with wire:
                    self._script(Client(self, wire))
            except OSError:
                return  # the client went away, or trusted us not: that is what the test is about


class Client:
    """One connection, as a script sees it."""

    def __init__(self, server: RawServer, wire: socket.socket) -> None:
        self._server = server
        self._wire = wire

    def read_request(self) -> bytes:
        """One whole request, head and body; empty when the client hung up."""
        request = b""
        while b"\r\n\r\n" not in request:
            if not (chunk := self._wire.recv(65_536)):
                return b""
            request += chunk
        head, _, body = request.partition(b"\r\n\r\n")
        length = next((int(v) for k, v in _fields(head) if k == "content-length"), 0)
        while len(body) < length:
            body += self._wire.recv(65_536)
        self._server.requests.append(head + b"\r\n\r\n" + body)
        return self._server.requests[-1]

    def send(self, data: bytes) -> None:
        self._wire.sendall(data)

    def drip(self, data: Iterable[bytes], every_seconds: float) -> None:
        """Sends piece after piece until they, or the server, come to an end."""
        for piece in data:
            self._wire.sendall(piece)
            if self._server.stopping.wait(every_seconds):
                return

    def wait(self, seconds: float) -> None:
        """Does nothing for so long, or until the server stops."""
        self._server.stopping.wait(seconds)

    def keep_silent(self) -> None:
        self._server.stopping.wait()


def headers_of(request: bytes) -> dict[str, str]:
    return dict(_fields(request.partition(b"\r\n\r\n")[0]))


def _fields(head: bytes) -> list[tuple[str, str]]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]


def _hang_up(client: socket.socket) -> None:
    try:
        client.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it already has
