"""The worker as a real process, and the only way tests wait.

No fixtures in here (`conftest.py` has them), no assertions, and nothing of Kafka's (`cluster.py`).
"""

import json
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from prometheus_client.parser import text_string_to_metric_families

from worker.demo import process

T = TypeVar("T")

_POLL_SECONDS = 0.03
_METRICS_PREFIX = "dreamdata_worker_"


def wait_until(condition: Callable[[], T], timeout_seconds: float, what: str) -> T:
    """The first true value of `condition`; TimeoutError, naming `what` and the last value, after the deadline."""
    deadline = time.monotonic() + timeout_seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_seconds} s: {what} (last seen: {value!r})")
        time.sleep(_POLL_SECONDS)
    return value


class Metrics:
    """One reading of `/metrics`."""

    def __init__(self, text: str) -> None:
        self._samples = [
            (sample.name, sample.labels, sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]

    def value(self, name: str, **labels: str) -> float:
        """The sum over every series of `name` (without the prefix) that carries these labels; 0 where there is none."""
        return sum(
            value
            for sample, found, value in self._samples
            if sample == _METRICS_PREFIX + name and labels.items() <= found.items()
        )

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """The series of `name` that are not 0, by the values of these labels."""
        return {
            tuple(found[label] for label in labels): value
            for sample, found, value in self._samples
            if sample == _METRICS_PREFIX + name and value
        }

    def outcomes(self) -> dict[tuple[str, ...], int]:
        """How many records ended in which outcome, by outcome and reason."""
        return {key: int(value) for key, value in self.by("records_total", "outcome", "reason").items()}


class WorkerProcess(process.WorkerProcess):
    """A worker as tests ask about it. Its environment is the settings given, and nothing of the test run's."""

    def wait_ready(self, timeout_seconds: float = 30) -> None:
        """Raises TimeoutError, or WorkerEndedError, with the end of the log."""
        try:
            wait_until(self.is_ready, timeout_seconds, "the worker is ready")
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.log_tail()}") from error

    def ready_reasons(self) -> list[str]:
        """Why it is not ready; empty when it is."""
        reasons: list[str] = json.loads(self.get("/readyz")[1])["reasons"]
        return reasons

    def metrics(self) -> Metrics:
        return Metrics(self.get("/metrics")[1])

    def wait_outcomes(self, expected: Mapping[tuple[str, ...], int]) -> None:
        """Until its counters say exactly this: a commit is seen in Kafka a moment before the worker has counted it."""
        wait_until(lambda: self.metrics().outcomes() == dict(expected), 10, f"the counters {dict(expected)}")

    def is_held(self, reason: str) -> bool:
        """Whether it says that it holds for this reason; False also while nothing listens yet."""
        self.check_running()
        try:
            return self.metrics().value("held", reason=reason) == 1
        except OSError:
            return False

    def is_stopped(self) -> bool:
        """Whether SIGSTOP holds it."""
        state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state == "T"

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone."""
        self.send_signal(signal.SIGKILL)
        self.wait_exit(10)

    def log_lines(self) -> list[dict[str, object]]:
        """The log, one mapping a line; what is no JSON (a traceback of Python's own) as `{"text": line}`."""
        return [_parsed(line) for line in self.log_text().splitlines() if line.strip()]

    def logged(self, event: str) -> list[dict[str, object]]:
        """The log lines of one event (`batch.delivered`)."""
        return [line for line in self.log_lines() if line.get("event") == event]


def _parsed(line: str) -> dict[str, object]:
    try:
        parsed = json.loads(line)
    except ValueError:
        return {"text": line}
    return parsed if isinstance(parsed, dict) else {"text": line}
