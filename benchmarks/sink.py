"""The API of a benchmark: takes batches after a fixed time, and remembers only what is needed to compare contenders.

A process of its own, so that its work is nobody's. Checks nothing: whether bodies are right is what the tests show.
Run as `python -m benchmarks.sink PORT DELAY_MS`.
"""

import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

import msgspec

from tests.integration.harness import wait_until
from worker.demo.broker import accepts_connections, free_port
from worker.demo.leash import Leash


class _Event(msgspec.Struct):
    message_id: str = msgspec.field(name="messageId")


class _Body(msgspec.Struct):
    batch: list[_Event]


class Taken(msgspec.Struct):
    """What one contender has delivered. `digest` is over its sorted ids; times are the sink's, in seconds."""

    requests: int
    events: int
    ids: int
    digest: str
    sizes: list[int]
    first_at: float
    last_at: float


_decode = msgspec.json.Decoder(_Body).decode


class _Ledger:
    def __init__(self) -> None:
        self._lock = Lock()
        self.clear()

    def clear(self) -> None:
        self._ids: list[str] = []
        self._sizes: list[int] = []
        self._first_at = self._last_at = 0.0

    def take(self, body: bytes) -> None:
        now = time.time()
        ids = [event.message_id for event in _decode(body).batch]
        with self._lock:
            self._first_at = self._first_at or now
            self._last_at = now
            self._ids += ids
            self._sizes.append(len(body))

    def taken(self) -> Taken:
        with self._lock:
            distinct = set(self._ids)
            digest = hashlib.sha256("\n".join(sorted(distinct)).encode()).hexdigest()
            return Taken(
                requests=len(self._sizes),
                events=len(self._ids),
                ids=len(distinct),
                digest=digest,
                sizes=self._sizes,
                first_at=self._first_at,
                last_at=self._last_at,
            )


def _handler(ledger: _Ledger, delay_seconds: float) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # head and body of an answer are two writes: the second one would wait for the client to acknowledge the first
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(delay_seconds)
            ledger.take(body)
            self._answer(b"{}")

        def do_GET(self) -> None:
            """What was taken since the last time this was asked."""
            taken = ledger.taken()
            ledger.clear()
            self._answer(msgspec.json.encode(taken))

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the library's
            pass

    return Handler


@contextmanager
def sink(delay_ms: float) -> Iterator[str]:
    """The address of one that runs for as long as the block lasts."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.sink", str(port), str(delay_ms)])
    leash = Leash(process)
    try:
        wait_until(lambda: accepts_connections(f"127.0.0.1:{port}"), 20, "the sink listens")
        yield f"http://127.0.0.1:{port}"
    finally:
        leash.release()
        process.kill()
        process.wait()


def main() -> None:
    port, delay_ms = int(sys.argv[1]), float(sys.argv[2])
    ThreadingHTTPServer(("127.0.0.1", port), _handler(_Ledger(), delay_ms / 1000)).serve_forever()


if __name__ == "__main__":
    main()
