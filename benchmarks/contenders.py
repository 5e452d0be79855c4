"""One run of one contender: started on a full topic, watched until all is delivered, and what it has cost.

What it costs is the operating system's account of the finished process, start included, not a clock of ours.
"""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition

from benchmarks.sink import Taken
from worker.demo.leash import Leash

_LOOK_SECONDS = 0.2
_RUN_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be delivered: `records` in `topic`, and where everything is."""

    brokers: str
    topic: str
    registry: str
    sink: str
    records: int
    work_dir: Path


@dataclass(frozen=True, slots=True)
class Run:
    """What one run has cost and done. CPU is user and system time together, in seconds."""

    contender: str
    cpu_seconds: float
    wall_seconds: float
    peak_rss_bytes: int
    taken: Taken


@dataclass(frozen=True, slots=True)
class Contender:
    """`command` gives arguments and environment for a job and a group. Who does not end by itself is told to, once
    everything is committed.
    """

    name: str
    command: Callable[[Job, str], tuple[list[str], Mapping[str, str]]]
    ends_by_itself: bool = True


class Course:
    """Where contenders run, one after the other, on the same job."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def run(self, contender: Contender, group: str) -> Run:
        """Raises RuntimeError where it fails, or does not come to an end in five minutes."""
        job = self._job
        take(job.sink)
        arguments, environment = contender.command(job, group)
        with (job.work_dir / f"{group}.log").open("wb") as log:
            started = time.monotonic()
            process = subprocess.Popen(arguments, env={**_PATHS, **environment}, stdout=log, stderr=log)
            leash = Leash(process)
            try:
                self._wait(process, contender, group, started)
            except BaseException:
                process.kill()
                raise
            finally:
                leash.release()
            # the process's own account, of all its threads: to be asked for in the call that reaps it
            _, status, usage = os.wait4(process.pid, 0)
            wall_seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RuntimeError(
                f"{contender.name} ended with {process.returncode}:\n{Path(log.name).read_text()[-2000:]}"
            )
        return Run(
            contender=contender.name,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            wall_seconds=wall_seconds,
            peak_rss_bytes=usage.ru_maxrss * 1024,
            taken=take(job.sink),
        )

    def _wait(self, process: subprocess.Popen[bytes], contender: Contender, group: str, started: float) -> None:
        """Until it has ended, without reaping it."""
        told = contender.ends_by_itself
        # One for all questions, that never joins: clients that come and go by the second, and the AdminClient's
        # question about a group's offsets, have ended this process with faults of theirs.
        bystander = Consumer({"bootstrap.servers": self._job.brokers, "group.id": group, "enable.auto.commit": False})
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() - started > _RUN_SECONDS:
                raise RuntimeError(f"{contender.name} did not come to an end within {_RUN_SECONDS} s")
            if not told and self._committed(bystander) >= self._job.records:
                told = True
                process.send_signal(signal.SIGTERM)
            time.sleep(_LOOK_SECONDS)

    def _committed(self, bystander: Consumer) -> int:
        """The sum of the group's committed offsets; the topic's records begin at 0 and have no gaps."""
        topic = self._job.topic
        try:
            partitions = bystander.list_topics(topic, timeout=10).topics[topic].partitions
            answer = bystander.committed([TopicPartition(topic, partition) for partition in partitions], timeout=10)
        except KafkaException:
            return 0  # the coordinator is not there yet
        return sum(part.offset for part in answer if part.offset > 0)


def take(sink: str) -> Taken:
    """What the sink has taken since it was asked last."""
    with urllib.request.urlopen(sink, timeout=30) as response:  # noqa: S310  # our own sink on loopback
        return msgspec.json.decode(response.read(), type=Taken)


def worker_settings(job: Job, group: str) -> dict[str, str]:
    """What the worker cannot go without; all else has its default."""
    return {
        "KAFKA_BROKERS": job.brokers,
        "KAFKA_TOPICS": job.topic,
        "KAFKA_CONSUMER_GROUP": group,
        "SCHEMA_REGISTRY_URL": job.registry,
        "DREAMDATA_URL": job.sink,
        "DREAMDATA_API_KEY": "benchmark-key",
        "CONSENT_CATEGORIES": "analytics,marketing",
        "PORT": "0",
        "LOG_FORMAT": "json",
    }


def _worker(job: Job, group: str) -> tuple[list[str], Mapping[str, str]]:
    return [sys.executable, "-m", "worker", "run"], worker_settings(job, group)


def _script(name: str) -> Callable[[Job, str], tuple[list[str], Mapping[str, str]]]:
    def command(job: Job, group: str) -> tuple[list[str], Mapping[str, str]]:
        where = [job.brokers, job.topic, group, job.sink, job.registry]
        return [sys.executable, "-m", f"benchmarks.{name}", *where], {}

    return command


# nothing else of this shell's: a proxy or a setting of the worker's would be measured with it
_PATHS = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}

WORKER = Contender("worker", _worker, ends_by_itself=False)
STRAIGHTFORWARD = Contender("straightforward", _script("straightforward"))
EXPERT = Contender("expert", _script("expert"))
CONTENDERS = (WORKER, STRAIGHTFORWARD, EXPERT)
