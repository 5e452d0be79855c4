"""A local stand-in for the Dreamdata API, for the demo, the tests and anyone without an account.

It keeps what it is sent in memory and shows it to whoever asks, so it belongs on loopback. Nothing of the worker's own
way of an event is in here: it must judge a body as a stranger would.

    PUT /faults  [{"status": 429, "delay_ms": 0, "retry_after": "5", "message_id": null, "count": 3}]

Every field may be left out, but for one of status and delay_ms. The first fault that fits a request is applied: it
waits delay_ms, then answers status (0 hangs up instead) without looking further: a batch that it answers 200 is lost.
Without a status the request goes its usual way after the delay. A message_id picks the requests whose batch holds that
event; a fault without count stays until `[]` clears it. Replacing faults also ends the delays that are being waited
out: what they hold is answered at once, as was ordered.
"""

import asyncio
import socket
import threading
from asyncio import AbstractEventLoop, Transport
from types import TracebackType
from typing import Self

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from worker.sandbox.app import HANG_UP_EXTENSION, State, make_app
from worker.sandbox.faults import Fault, Faults
from worker.sandbox.ledger import Ledger

__all__ = ["Fault", "Sandbox"]


class Sandbox:
    """The stand-in on a thread of its own; `with Sandbox() as sandbox:` is up when the block begins.

    `key` is the API key it accepts, any non-empty one if None; assign another to rotate it. Port 0 takes a free one.
    Of the accepted events it remembers the last `max_events`, and no more than `max_event_bytes` of them.
    """

    def __init__(
        self,
        *,
        key: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        max_events: int = 10_000,
        max_event_bytes: int = 128_000_000,
    ) -> None:
        self._address = (host, port)
        self._state = State(key, Ledger(max_events=max_events, max_event_bytes=max_event_bytes))
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._loop: AbstractEventLoop | None = None

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        host, port = self._address
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def ledger(self) -> Ledger:
        return self._state.ledger

    @property
    def faults(self) -> Faults:
        return self._state.faults

    @property
    def key(self) -> str | None:
        return self._state.key

    @key.setter
    def key(self, key: str | None) -> None:
        self._state.key = key

    def start(self) -> None:
        """Returns when connections are accepted; OSError where the address cannot be had."""
        listener = _listener(*self._address)
        self._address = (self._address[0], listener.getsockname()[1])
        self._state.is_stopping = False
        self._state.released = asyncio.Event()  # one that was waited for belongs to the loop of an earlier start
        config = uvicorn.Config(
            make_app(self._state),
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            # longer than a worker's pause between two batches, as behind any real load balancer
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(self._server, listener),), name="sandbox")
        self._thread.daemon = True
        self._thread.start()

    def stop(self) -> None:
        """Hangs up on requests whose delay is not over; the ledger can still be read afterwards."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._state.stop)
        self._thread.join()
        self._server = self._thread = self._loop = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def _serve(self, server: uvicorn.Server, listener: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        with listener:
            await server.serve(sockets=[listener])


def _listener(host: str, port: int) -> socket.socket:
    # The protocol is named because asyncio switches Nagle's algorithm off for such sockets only, and with it on every
    # answer takes 40 ms: its head waits to be acknowledged before its body goes out.
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


class _Protocol(H11Protocol):
    """Lets the app hang up on a client, for which ASGI has no message."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        app = self.app

        async def app_that_can_hang_up(scope: Scope, receive: Receive, send: Send) -> None:
            scope[HANG_UP_EXTENSION] = transport.abort
            await app(scope, receive, send)

        self.app = app_that_can_hang_up
