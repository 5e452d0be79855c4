"""One POST to the Dreamdata API, one answer.

No policy in here: no retry, no rate, no gate, no log line. Whatever the network or the server does becomes an `Answer`;
what it means is told by `Answer.verdict`, what to do about it by the core. No other module imports requests.

Safe to share between threads: every thread has a session, and so a connection, of its own. Nothing is ever sent twice:
a kept connection that turns out to be dead once the request went out is "no-answer", because the server may have taken
the batch.
"""

import base64
import io
import re
import socket
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import partial
from http.client import HTTPException, HTTPResponse
from typing import Any, cast

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from worker import __version__
from worker.core.outcomes import Answer

_TEXT_MAX_CHARACTERS = 1024
_TEXT_MAX_BYTES = 4 * _TEXT_MAX_CHARACTERS  # UTF-8 takes at most four a character
_DRAIN_MAX_BYTES = 65_536  # reading this much costs less than a new TLS connection
_DRAIN_MAX_SECONDS = 5.0  # the status is known by then: what follows is not worth a thread for longer
_RETRY_AFTER_MAX_SECONDS = 3600.0
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")
_USERINFO = re.compile(r"//\S*@")
# OSError not for sockets alone: all of requests' own errors are one, and so is its word for a CA bundle that is missing
_FAILURES = (OSError, HTTPError, HTTPException)


class Api:
    """The Dreamdata API under `url` (its base: `/v1/batch` is added).

    `key` is asked before every request, so that a rotated key is used at once; caching is the caller's.
    `timeout_seconds` bounds the whole request, from connecting to the end of the answer, however slowly either side
    drips; only name resolution is the system's to bound. `clock` is monotonic and stamps the answers.
    """

    def __init__(
        self,
        url: str,
        key: Callable[[], str],
        timeout_seconds: float,
        connect_timeout_seconds: float = 5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = f"{url.rstrip('/')}/v1/batch"
        self._key = key
        self._timeout_seconds = timeout_seconds
        self._connect_timeout_seconds = min(connect_timeout_seconds, timeout_seconds)
        self._clock = clock
        self._local = threading.local()
        # weak, because the session of a thread that ends goes with it
        self._sessions: weakref.WeakSet[requests.Session] = weakref.WeakSet()
        self._lock = threading.Lock()

    def post(self, body: bytes) -> Answer:
        """Sends one body and waits for its answer. Raises only what `key` raises."""
        key = self._key()
        started_at = self._clock()
        try:
            request = self._prepared(body, key)
            session, deadline = self._line()
            deadline.at = started_at + self._timeout_seconds
            response = self._send(session, request)
        except _FAILURES as error:
            failure, reason = _failure(error)
            return Answer(None, started_at, self._clock(), body=_clipped(reason, key), failure=failure)
        deadline.at = min(deadline.at, self._clock() + _DRAIN_MAX_SECONDS)
        text = _drained(response)
        return Answer(
            status=response.status_code,
            started_at=started_at,
            ended_at=self._clock(),
            body="" if 200 <= response.status_code < 300 else _clipped(text, key),
            retry_after=retry_after_seconds(response.headers, now=time.time()),
        )

    def close(self) -> None:
        """Closes the idle connections of every thread; one that is on the wire ends by itself."""
        with self._lock:
            sessions = list(self._sessions)
        for session in sessions:
            session.close()

    def _prepared(self, body: bytes, key: str) -> requests.PreparedRequest:
        request = requests.Request("POST", self._url, data=body, headers={"Content-Type": "application/json"}).prepare()
        request.headers.update(
            {
                "Authorization": f"Basic {_token(key)}",
                "User-Agent": f"dreamdata-worker/{__version__}",
                "Accept": "*/*",
            }
        )
        return request

    def _send(self, session: requests.Session, request: requests.PreparedRequest) -> requests.Response:
        # Not `session.post`: that one puts what .netrc says over our header, keeps cookies, and swallows the whole body
        # of a redirect, however long, although it was told not to follow it.
        return session.get_adapter(self._url).send(
            request,
            timeout=(self._connect_timeout_seconds, self._timeout_seconds),
            verify=session.verify or True,
            proxies=session.proxies,
        )

    def _line(self) -> tuple[requests.Session, "_Deadline"]:
        """This thread's session, and the deadline that its connection obeys."""
        line: tuple[requests.Session, _Deadline] | None = getattr(self._local, "line", None)
        if line is None:
            session, deadline = requests.Session(), _Deadline(self._clock)
            # a process's environment stays as it is, and to look through it costs more the more variables there are
            settings = session.merge_environment_settings(self._url, {}, None, None, None)
            session.verify, session.proxies = settings["verify"], settings["proxies"]
            for scheme in ("http://", "https://"):
                session.mount(scheme, _Adapter(deadline))
            with self._lock:
                self._sessions.add(session)
            self._local.line = line = (session, deadline)
        return line


def retry_after_seconds(headers: Mapping[str, str], *, now: float) -> float | None:
    """What `Retry-After` asks for, at most an hour; None where it is missing, unreadable, 0 or in the past.

    A date is counted from the answer's own `Date`, so that our clock and the server's may differ, else from `now`
    (seconds since 1970).
    """
    text = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(text):
        seconds = float(text)
    elif (until := _timestamp(text)) is not None:
        sent_at = _timestamp(headers.get("Date", ""))
        seconds = until - (now if sent_at is None else sent_at)
    else:
        return None
    return min(seconds, _RETRY_AFTER_MAX_SECONDS) if seconds > 0 else None


def _timestamp(http_date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(http_date)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _drained(response: requests.Response) -> str:
    """The start of the answer's text. Reads on to the end, so that the connection can be kept, but not for ever.

    The status stands whatever becomes of the text: a server that breaks off after "200" has taken the batch.
    """
    start, length = bytearray(), 0
    try:
        while length <= _DRAIN_MAX_BYTES and (chunk := response.raw.read1(_DRAIN_MAX_BYTES, decode_content=False)):
            start += chunk[: _TEXT_MAX_BYTES - len(start)]
            length += len(chunk)
    except _FAILURES:
        pass
    finally:
        response.close()  # hands a connection that was read to its end back, and closes any other
    return start.decode(errors="replace")


def _failure(error: BaseException) -> tuple[str, str]:
    """The metrics' word for a request without an answer, and what lies at the bottom of it."""
    causes = [error]
    while cause := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(cause)
    timed_out = any(isinstance(each, TimeoutError | requests.Timeout) for each in causes)
    text = " ".join(f"{type(causes[-1]).__name__}: {causes[-1]}".split())
    return "timeout" if timed_out else "no-answer", _USERINFO.sub("//***@", text)


def _token(key: str) -> str:
    return base64.b64encode(f"{key}:".encode()).decode()


def _clipped(text: str, key: str) -> str:
    """As much as an `Answer` carries, without the key: a gateway's error page may repeat the request's headers."""
    if key:
        text = text.replace(_token(key), "***").replace(key, "***")
    return text[:_TEXT_MAX_CHARACTERS]


class _Deadline:
    """When this thread's request must have ended, on the clock of the `Api`."""

    __slots__ = ("_clock", "at")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.at = 0.0

    def remaining_seconds(self) -> float:
        if (seconds := self.at - self._clock()) <= 0:
            raise TimeoutError("the request's time is up")
        return seconds


class _Adapter(HTTPAdapter):
    """Makes connections that obey the deadline; one kept, none of urllib3's retries."""

    def __init__(self, deadline: _Deadline) -> None:
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)
        self._connections: dict[object, object] = {
            HTTPConnection: partial(_TimedConnection, deadline),
            HTTPSConnection: partial(_TimedTlsConnection, deadline),
        }

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> HTTPConnectionPool:
        """The pool of requests, told to make our connections (Any: what requests passes is passed on as it is)."""
        pool = cast(HTTPConnectionPool, super().get_connection_with_tls_context(*args, **options))
        pool.ConnectionCls = cast(Any, self._connections.get(pool.ConnectionCls, pool.ConnectionCls))
        return pool


class _TimedConnection(HTTPConnection):
    """Sends and reads against one deadline.

    A socket's own time-out is no help: it starts afresh with every byte that drips in, and while the body goes out
    urllib3 leaves it at the *connect* time-out, which is too short for a full body on a slow line.
    """

    def __init__(self, deadline: _Deadline, **options: Any) -> None:
        super().__init__(**options)
        self._deadline = deadline

    def send(self, data: Any) -> None:
        if self.sock is not None:
            self.sock.settimeout(self._deadline.remaining_seconds())
        super().send(data)

    def response_class(  # type: ignore[override]  # http.client only calls it, so a method does
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None
    ) -> HTTPResponse:
        return HTTPResponse(cast(socket.socket, _TimedFiles(sock, self._deadline)), debuglevel, method)


class _TimedTlsConnection(_TimedConnection, HTTPSConnection):
    pass


class _TimedFiles:
    """Stands in for the socket where http.client asks for a file to read the answer from, the one thing it asks for."""

    def __init__(self, sock: socket.socket, deadline: _Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._sock, self._deadline))


class _TimedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: _Deadline) -> None:
        super().__init__()
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._deadline.remaining_seconds())
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()
