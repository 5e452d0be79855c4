"""The demo itself: Kafka, sandbox and worker started, traffic sent, its way watched, everything ended again.

What the traffic is (`site.py`) and what is said at the end (`report.py`) is decided elsewhere. Prints to the console it
is given and reads no environment.
"""

import json
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from worker.core.outcomes import Outcome, Reason
from worker.demo import jane, report, site
from worker.demo.broker import EmbeddedKafka, free_port
from worker.demo.process import WorkerProcess
from worker.demo.traffic import Traffic
from worker.encoding import single_object_encoder
from worker.sandbox import Fault, Sandbox

TOPIC = "delivery-dreamdata"
DEAD_LETTERS = f"{TOPIC}.dead-letters"
_API_KEY = "demo-key"
_WORKER_PORT, _SANDBOX_PORT = 8082, 8083
_READY_SECONDS, _DELIVERY_SECONDS, _STOP_SECONDS = 30, 90, 30
_CATCH_UP_SECONDS = 5
_LOOK_SECONDS = 0.05
_SAY_SECONDS = 1
# An API far away takes its time; without this there is nothing to watch.
_API_DELAY_MS = 120


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs, in the order it was started."""

    kafka: EmbeddedKafka
    sandbox: Sandbox
    traffic: Traffic
    worker: WorkerProcess
    encode: site.Encode


@contextmanager
def stage(
    console: Console, *, java: Path, schemas: Path, folder: Path | None, events: int, settings: Mapping[str, str]
) -> Iterator[Stage]:
    """Starts all of it and ends all of it. Data and logs go to `folder`, which stays, or to a temporary one."""
    with ExitStack() as running:
        console.print("starting Kafka …")
        kafka = running.enter_context(EmbeddedKafka.start(folder, java=java, announce=console.print))
        sandbox = Sandbox(key=_API_KEY, port=_port(_SANDBOX_PORT), max_events=events + 10_000)
        running.enter_context(sandbox)
        traffic = Traffic(kafka.bootstrap_servers, TOPIC)
        worker = WorkerProcess(
            {
                **_settings(kafka, sandbox),
                "PORT": str(_port(_WORKER_PORT)),
                **settings,
            },
            kafka.folder / "worker.log",
        )
        running.callback(worker.close)
        encode = single_object_encoder((schemas / "signal_event.avsc").read_text())
        yield Stage(kafka, sandbox, traffic, worker, encode)


def _settings(kafka: EmbeddedKafka, sandbox: Sandbox) -> dict[str, str]:
    return {
        "KAFKA_BROKERS": kafka.bootstrap_servers,
        "KAFKA_TOPICS": TOPIC,
        "DREAMDATA_URL": sandbox.url,
        "DREAMDATA_API_KEY": _API_KEY,
        "CONSENT_CATEGORIES": ",".join(site.REQUIRED_CONSENT),
    }


def deliver_all(console: Console, on: Stage, *, events: int, seed: int) -> report.Result:
    """Sends a whole hour of the site's traffic, watches until every record has its outcome, stops the worker."""
    records = site.recorded(seed=seed, events=events, encode=on.encode)
    poison = next(record.message_id for record in records if record.reason is Reason.REJECTED)
    on.sandbox.faults.put([Fault(status=400, message_id=poison), Fault(delay_ms=_API_DELAY_MS)])
    on.traffic.send(records)
    console.print(f"{len(records):,} records of a made-up site are in Kafka, topic {TOPIC}; starting the worker …")
    _wait_ready(on.worker)
    metrics, body = _watch(console, on, len(records))
    on.worker.terminate(_STOP_SECONDS)
    result = report.Result(
        expected=report.expected(records),
        counted=report.counted(metrics),
        taken_ids=Counter(event.message_id for event in on.sandbox.ledger.events()),
        expected_ids=frozenset(record.message_id for record in records if record.outcome is Outcome.DELIVERED),
        dead_letters=on.traffic.count(DEAD_LETTERS),
    )
    console.print()
    console.print(report.table(result))
    console.print(report.requests(report.answers(metrics)), end="\n\n")
    console.print(report.verdict(result), markup=False, style="bold red" if result.problems else "bold green")
    if body is not None:
        console.print("\nOne request body, cut to Jane Doe's lead. Her traits come from the identify before it:")
        console.print_json(report.excerpt(json.loads(body), jane.LEAD_MESSAGE_ID), indent=2)
    return result


def deliver_on(console: Console, on: Stage, *, seed: int, per_second: float) -> None:
    """Traffic at this rate until KeyboardInterrupt, then the worker is stopped as Kubernetes would: SIGTERM."""
    _wait_ready(on.worker)
    console.print(
        report.addresses(
            on.sandbox.url,
            on.worker.url,
            on.kafka.bootstrap_servers,
            on.kafka.folder,
            _settings(on.kafka, on.sandbox),
        ),
        markup=False,
        soft_wrap=True,
    )
    steps = site.endless(seed)
    started = said = time.monotonic()
    sent = 0
    try:
        while True:
            due = int((time.monotonic() - started) * per_second) - sent
            at_ms = time.time_ns() // 1_000_000
            on.traffic.send(site.produced(next(steps), at_ms, on.encode) for _ in range(due))
            sent += due
            on.worker.check_running()
            if time.monotonic() - said >= (_SAY_SECONDS if console.is_terminal else 10 * _SAY_SECONDS):
                said = time.monotonic()
                tally = report.counted(_metrics(on.worker) or "")
                line = f"{sent:,} produced · {report.brief(tally)}"
                if console.is_terminal:
                    console.print(f"{line:<78}", end="\r")
                else:
                    console.print(line)
            time.sleep(_LOOK_SECONDS)
    except KeyboardInterrupt:
        console.print("\nstopping: the worker finishes what it has begun …")
        tally = _caught_up(on.worker, sent)
        code = on.worker.terminate(_STOP_SECONDS)
        console.print(f"stopped (exit code {code}): {sent:,} produced · {report.brief(tally)}")


def _caught_up(worker: WorkerProcess, sent: int) -> report.Tally:
    """The worker's counters once they hold all that was sent, or time is up; with the worker they are gone."""
    deadline = time.monotonic() + _CATCH_UP_SECONDS
    tally = report.counted(_metrics(worker) or "")
    while tally.total() < sent and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        tally = report.counted(_metrics(worker) or "")
    return tally


def _watch(console: Console, on: Stage, total: int) -> tuple[str, bytes | None]:
    """The last metrics once every record is counted, or time is up, and the body that Jane's lead went out in."""
    metrics, body, said = "", None, time.monotonic()
    deadline = said + _DELIVERY_SECONDS
    columns = (BarColumn(bar_width=16), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=total)
        while time.monotonic() < deadline:
            on.worker.check_running()
            metrics = _metrics(on.worker) or metrics
            tally = report.counted(metrics)
            body = body or _body_with(on.sandbox, jane.LEAD_MESSAGE_ID)
            progress.update(bar, completed=tally.total(), description=report.brief(tally))
            if tally.total() >= total:
                if not console.is_terminal:
                    console.print(f"{tally.total():,} of {total:,} records: {report.brief(tally)}")
                break
            if not console.is_terminal and time.monotonic() - said >= _SAY_SECONDS:
                said = time.monotonic()
                console.print(f"{tally.total():,} of {total:,} records: {report.brief(tally)}")
            time.sleep(_LOOK_SECONDS)
    return metrics, body


def _body_with(sandbox: Sandbox, message_id: str) -> bytes | None:
    return next((body for body in sandbox.ledger.bodies() if message_id.encode() in body), None)


def _metrics(worker: WorkerProcess) -> str | None:
    try:
        return worker.get("/metrics")[1]
    except OSError:
        return None


def _wait_ready(worker: WorkerProcess) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not worker.is_ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"The worker was not ready within {_READY_SECONDS} s.\n{worker.log_tail()}")
        time.sleep(_LOOK_SECONDS)


def _port(preferred: int) -> int:
    """The documented one where it is free, so that the documentation's links work; else any."""
    with socket.socket() as candidate:
        # As the servers do: a port is not taken because a connection to its last owner still lingers.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, os.name == "posix")
        try:
            candidate.bind(("127.0.0.1", preferred))
        except OSError:
            return free_port()
    return preferred
