"""How soon: after the start, after an event, after `Retry-After`, after a SIGKILL. Wall time, as a user waits it.

The API is a thread of this process here, so that it can be told what to answer and when it answered. Nothing is
compared with anybody; on a busy machine the figures are upper bounds.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from statistics import median, quantiles
from threading import Thread

import msgspec
from confluent_kafka import Producer

from benchmarks.contenders import Job, worker_settings
from tests.integration.harness import WorkerProcess, wait_until
from worker.demo.site import Produced

STARTS = 3
# more than is delivered at full speed while anything here is waited for
BACKLOG = 400_000
LATENCY_EVENTS, EVENTS_A_SECOND = 2_000, 100
# in front of those that count: the group has to be joined and the first connection made
WARM_UP_EVENTS = 300
REFUSING_SECONDS, RETRY_AFTER_SECONDS = 12.0, 5
# speed varies by a fifth from second to second as it is
USUAL_SECONDS, FULL_SPEED = 3.0, 0.8
_WAIT_SECONDS = 90

_numbers = count(1)


class _Event(msgspec.Struct):
    message_id: str = msgspec.field(name="messageId")


class _Body(msgspec.Struct):
    batch: list[_Event]


_decode = msgspec.json.Decoder(_Body).decode


class Api:
    """Answers at once: 200, or 429 while `refusing`. All times are monotonic seconds of this process."""

    def __init__(self) -> None:
        self.arrived: dict[str, float] = {}
        self.taken: list[tuple[float, int]] = []
        self.refused: list[float] = []
        self.refusing = False

    def answer(self, body: bytes) -> int:
        now = time.monotonic()
        if self.refusing:
            self.refused.append(now)
            return 429
        events = _decode(body).batch
        for event in events:
            self.arrived.setdefault(event.message_id, now)
        self.taken.append((now, len(events)))
        return 200

    def first_after(self, moment: float) -> float | None:
        return next((at for at, _ in list(self.taken) if at > moment), None)

    def rate(self, since: float, until: float) -> float:
        """Events a second."""
        return sum(events for at, events in list(self.taken) if since < at <= until) / (until - since)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing: a process that is killed breaks its connections off."""


@contextmanager
def serving(api: Api) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            status = api.answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            if status == 429:
                self.send_header("Retry-After", str(RETRY_AFTER_SECONDS))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the library's
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def worker(job: Job, group: str, **settings: str) -> Iterator[WorkerProcess]:
    log = job.work_dir / f"{group}-{next(_numbers)}.log"
    process = WorkerProcess({**_without_port(worker_settings(job, group)), **settings}, log)
    try:
        yield process
    finally:
        process.close()


def _without_port(settings: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in settings.items() if name != "PORT"}


def start(job: Job) -> str:
    """From the start of the process to its first request, on a full topic."""
    seconds = median(_started(job, f"start-{number}") for number in range(STARTS))
    return f"start: the first request {seconds:.1f} s after the start of the process (target: 3)"


def _started(job: Job, group: str) -> float:
    api = Api()
    with serving(api) as url:
        began = time.monotonic()
        with worker(replace(job, sink=url), group):
            wait_until(lambda: api.taken, _WAIT_SECONDS, "a first request")
    return api.taken[0][0] - began


def latency(job: Job, events: Iterator[Produced], *, linger_ms: int = 1_000) -> str:
    """From `produce` to the API, at a hundred events a second, of those that are for it."""
    api = Api()
    produced: dict[str, float] = {}
    producer = Producer({"bootstrap.servers": job.brokers, "linger.ms": 0, "partitioner": "murmur2_random"})
    with serving(api) as url, worker(replace(job, sink=url), "latency", BATCH_LINGER_MS=str(linger_ms)) as process:
        process.wait_ready(_WAIT_SECONDS)
        began = time.monotonic()
        for number, event in enumerate(events):
            while time.monotonic() < began + number / EVENTS_A_SECOND:
                producer.poll(0.001)
            if number >= WARM_UP_EVENTS:
                produced[event.message_id] = time.monotonic()
            producer.produce(job.topic, key=event.key, value=event.value)
        producer.flush(30)
        time.sleep(2 * linger_ms / 1000)
    waited = [(api.arrived[name] - at) * 1000 for name, at in produced.items() if name in api.arrived]
    centiles = quantiles(waited, n=100)
    return (
        f"latency: p50 {centiles[49]:.0f} ms, p99 {centiles[98]:.0f} ms from produce to the API, of "
        f"{len(waited):,} events at {EVENTS_A_SECOND} a second (target: p99 at most {linger_ms + 100} ms, linger + 100)"
    )


def after_429(job: Job) -> str:
    """Refused for twelve seconds under a backlog, each time with `Retry-After: 5`."""
    api = Api()
    with serving(api) as url, worker(replace(job, sink=url), "retry-after"):
        wait_until(lambda: len(api.taken) >= 10, _WAIT_SECONDS, "deliveries")
        time.sleep(USUAL_SECONDS)
        usual = api.rate(time.monotonic() - USUAL_SECONDS, time.monotonic())
        api.refusing = True
        time.sleep(REFUSING_SECONDS)
        api.refusing = False
        named = api.refused[-1] + RETRY_AFTER_SECONDS
        wait_until(lambda: time.monotonic() > named + 5, _WAIT_SECONDS, "the time named has come")
    late = (api.first_after(named - RETRY_AFTER_SECONDS) or named + 99) - named
    # seconds of their own, beginning every tenth
    seconds = [number / 10 for number in range(40)]
    full = next((after for after in seconds if api.rate(named + after, named + after + 1) >= FULL_SPEED * usual), None)
    regained = "never" if full is None else f"{full:.1f} s"
    return (
        f"429 for {REFUSING_SECONDS:g} s: {len(api.refused)} refused; the next request {late:.2f} s after the time "
        f"named, {FULL_SPEED:.0%} of the speed before {regained} after it (target: 2)"
    )


def after_kill(job: Job) -> str:
    """SIGKILL under a backlog, and another process at once: until it delivers, with default settings."""
    api = Api()
    with serving(api) as url:
        told = replace(job, sink=url)
        with worker(told, "killed") as first:
            wait_until(lambda: len(api.taken) >= 10, _WAIT_SECONDS, "the first worker delivers")
            first.kill()
        killed = time.monotonic()
        with worker(told, "killed"):
            wait_until(lambda: api.first_after(killed + 0.5), _WAIT_SECONDS, "the second one delivers")
            seconds = (api.first_after(killed + 0.5) or 0.0) - killed
    return f"SIGKILL: the next process delivers after {seconds:.1f} s (target: 20)"
