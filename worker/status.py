"""The worker's own pages: /healthz, /readyz, /metrics, /events. Decides nothing: it asks, on every request.

Whoever may not see a page is turned away in one place, `Guard`, whatever page that is.
"""

import hmac
import socket
from collections.abc import Callable, Sequence
from threading import Event, Thread

import uvicorn
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from worker.errors import SettingsError
from worker.metrics import Metrics
from worker.settings.values import is_loopback
from worker.tap.page import EventsPage, Sources
from worker.tap.pictures import Pictures
from worker.tap.recorder import Tap

OPEN_PAGES = frozenset(("/healthz", "/readyz", "/metrics"))
START_SECONDS = 10.0
STOP_SECONDS = 2.0


class Guard:
    """Lets only this machine, or the bearer of the token, beyond the open pages.

    A browser on this machine may be led here by a page from elsewhere under that page's own host name (DNS rebinding),
    so the host that was asked for must be this machine as well.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._admits(scope):
            answer = PlainTextResponse(
                "From beyond this machine this page needs 'Authorization: Bearer <CONSOLE_TOKEN>'.\n", status_code=403
            )
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _admits(self, scope: Scope) -> bool:
        if scope["path"] in OPEN_PAGES:
            return True
        headers = Headers(scope=scope)
        client = scope.get("client")
        if client and is_loopback(client[0]) and is_loopback(_host(headers.get("host", ""))):
            return True
        kind, _, token = headers.get("authorization", "").partition(" ")
        if self._token is None or kind.lower() != "bearer":
            return False
        return hmac.compare_digest(token.strip().encode(), self._token.encode())


def _host(header: str) -> str:
    """Without the port: `[::1]:8082` is `::1`."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


def status_app(
    *,
    alive: Callable[[], bool],
    reasons: Callable[[], Sequence[str]],
    metrics: Metrics,
    events: EventsPage,
    console_token: str | None,
) -> Starlette:
    """The pages without a server."""

    async def healthz(_: Request) -> Response:
        is_alive = alive()
        return JSONResponse({"alive": is_alive}, status_code=200 if is_alive else 503)

    async def readyz(_: Request) -> Response:
        found = list(reasons())
        return JSONResponse({"ready": not found, "reasons": found}, status_code=503 if found else 200)

    async def numbers(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(metrics.registry), headers={"Content-Type": content_type})

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", numbers),
            Route("/events", events.get),
        ],
        middleware=[Middleware(Guard, token=console_token)],
    )


class _Server(uvicorn.Server):
    """Says when it listens. On a thread of its own uvicorn leaves the process's signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.listening.set()


class StatusServer:
    """Serves the pages from a thread of its own. `alive` and `reasons` are called on that thread and must not wait."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        alive: Callable[[], bool],
        reasons: Callable[[], Sequence[str]],
        metrics: Metrics,
        tap: Tap,
        pictures: Pictures,
        console_token: str | None,
    ) -> None:
        self._host = host
        self._asked_port = port
        events = EventsPage(Sources(tap, pictures, reasons, stopping=lambda: self._server.should_exit))
        app = status_app(alive=alive, reasons=reasons, metrics=metrics, events=events, console_token=console_token)
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1, server_header=False
        )
        self._server = _Server(config)
        self._thread: Thread | None = None
        self.port = port

    def start(self) -> None:
        """Returns when it listens; `port` is then its own. Raises `SettingsError` where HOST and PORT cannot be had."""
        listener = _listener(self._host, self._asked_port)
        self.port = listener.getsockname()[1]
        self._thread = Thread(target=self._server.run, args=([listener],), name="status", daemon=True)
        self._thread.start()
        if not self._server.listening.wait(START_SECONDS):
            raise RuntimeError("the status server did not start; the log says why")

    def stop(self) -> None:
        """Ends it; a page that is still being sent is cut off after a second. May be called twice."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)


def _listener(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SettingsError([f"HOST is {host}, which is no address of this machine: {error.strerror}."]) from None
    try:
        # a worker that comes back at once finds connections of the last one in TIME_WAIT
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        problem = f"HOST and PORT are {host} and {port}, where nothing can listen: {error.strerror}"
        raise SettingsError([f"{problem}; another PORT may be free."]) from None
    return listener
