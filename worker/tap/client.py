"""The watcher's end of the stream: connects to a worker, reads messages, and comes back after a break. Shows nothing.

One connection at a time, on the caller's thread. The worker says something every second, so whoever iterates gets a
turn that often.
"""

import http.client
import json
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import urlencode, urlsplit

from worker.errors import WorkerError

SILENCE_SECONDS = 10.0
RECONNECT_SECONDS = 1.0
_REFUSAL_MAX_BYTES = 1_000

Query = Sequence[tuple[str, str]]


class TapError(WorkerError):
    """Stop, exit 1: there is no worker to watch at this address, or it does not let us. Says what to do."""


class QueryRefusedError(TapError):
    """Stop, exit 2: the worker knows no such filter. Says which it knows."""


class _LostError(Exception):
    """Retry: the connection broke off, or nobody listens just now."""


class Kind(Enum):
    MOMENT = "moment"
    STATE = "state"
    DROPPED = "dropped"
    HEARTBEAT = "heartbeat"
    LOST = "lost"  # said by this end: the stream broke off, and is looked for every second
    FOUND = "found"  # said by this end: connected again


# Of another version's worker there may be more: they are passed over.
_KINDS = frozenset({Kind.MOMENT.value, Kind.STATE.value, Kind.DROPPED.value})


@dataclass(frozen=True, slots=True)
class Message:
    """`text` is the JSON as it came, `content` what it holds."""

    kind: Kind
    text: str = ""
    # Any: the worker may be of another version than this end
    content: Mapping[str, Any] | None = None


class Watcher:
    """Follows one worker's stream. `url` is the worker's status server, `token` its CONSOLE_TOKEN."""

    def __init__(self, url: str, token: str | None, query: Query) -> None:
        self._address = urlsplit(url)
        if self._address.scheme not in ("http", "https") or not self._address.hostname:
            raise TapError(f"{url} is no address of a worker; it has the form http://127.0.0.1:8082.")
        self._url = url
        self._token = token
        self._path = f"{self._address.path.rstrip('/')}/events?{urlencode(query)}"
        self._last_id = ""

    def messages(self) -> Iterator[Message]:
        """Without end. Raises TapError where the first connection fails, or a later one is refused."""
        try:
            connection = self._connect()
        except _LostError as error:
            raise TapError(
                f"Nothing answers at {self._url} ({error}). Is the worker running there? "
                "HOST and PORT, or --url, say where it is looked for."
            ) from None
        lost = False
        while True:
            for message in self._until_lost(connection):
                if lost:
                    yield Message(Kind.FOUND)
                lost = False
                yield message
            # a worker that is about to end still takes connections, and ends them at once: that is no return
            yield Message(Kind.HEARTBEAT if lost else Kind.LOST)
            lost = True
            connection = yield from self._connected_again()

    def _connected_again(self) -> Generator[Message, None, "_Connection"]:
        while True:
            time.sleep(RECONNECT_SECONDS)
            try:
                return self._connect()
            except _LostError:
                yield Message(Kind.HEARTBEAT)

    def _connect(self) -> "_Connection":
        headers = {"Accept": "text/event-stream"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if self._last_id:
            headers["Last-Event-ID"] = self._last_id
        host, port = self._address.hostname, self._address.port
        assert host is not None
        kind = http.client.HTTPSConnection if self._address.scheme == "https" else http.client.HTTPConnection
        connection = kind(host, port, timeout=SILENCE_SECONDS)
        with ExitStack() as stack:
            stack.callback(connection.close)
            try:
                connection.request("GET", self._path, headers=headers)
                response = stack.enter_context(connection.getresponse())
                if response.status != http.client.OK or "event-stream" not in response.headers.get("Content-Type", ""):
                    raise self._refusal(response.status, response.read(_REFUSAL_MAX_BYTES).decode(errors="replace"))
            except (OSError, http.client.HTTPException) as error:
                raise _LostError(str(error) or type(error).__name__) from None
            return _Connection(response, stack.pop_all())

    def _refusal(self, status: int, body: str) -> TapError:
        match status:
            case 400:
                return QueryRefusedError(body.strip())
            case 503:
                return TapError(f"{self._url} answers 503: {body.strip()}")
            case 403:
                return TapError(
                    f"{self._url} answers 403: from beyond its machine a worker wants its CONSOLE_TOKEN. Set "
                    "CONSOLE_TOKEN or CONSOLE_TOKEN_FILE to the worker's."
                )
        return TapError(
            f"{self._url} answers {status} without a stream of events: it is no worker, or one of another version. "
            "HOST and PORT, or --url, say where it is looked for."
        )

    def _until_lost(self, connection: "_Connection") -> Iterator[Message]:
        kind, text, identifier = Kind.MOMENT.value, "", ""
        with connection.closing:
            while (line := _line(connection.response)) is not None:
                field, _, value = line.partition(": ")
                if field == "event":
                    kind = value
                elif field == "data":
                    text = value
                elif field == "id":
                    identifier = value
                elif line:
                    yield Message(Kind.HEARTBEAT)
                elif text:
                    self._last_id = identifier or self._last_id
                    if kind in _KINDS:
                        yield Message(Kind(kind), text, json.loads(text))
                    kind, text, identifier = Kind.MOMENT.value, "", ""


@dataclass(frozen=True, slots=True)
class _Connection:
    response: http.client.HTTPResponse
    closing: ExitStack


def _line(response: http.client.HTTPResponse) -> str | None:
    """The next line; None when the stream is at its end."""
    try:
        line = response.readline()
    except (OSError, http.client.HTTPException):
        return None
    return line.decode().rstrip("\r\n") if line.endswith(b"\n") else None
