"""A real schema registry as a child process: Apicurio Registry, Confluent's API under `/apis/ccompat/v7`.

No tests in here. The first run on a machine fetches 109 MB, in a process of its own because a test may not connect
beyond loopback; afterwards it starts from `.cache/`. Run as a script it only fetches.
"""

import os
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

import pytest

from tests.integration.harness import wait_until
from worker.demo.broker import free_port
from worker.demo.jars import BrokerUnavailableError, find_java
from worker.demo.leash import Leash

VERSION = "3.0.9"
CACHE = Path(__file__).parents[2] / ".cache" / f"apicurio-registry-{VERSION}"
JAR = CACHE / f"apicurio-registry-app-{VERSION}-runner.jar"


class Registry:
    """Started, and answering, until `stop`. `url` is what goes into SCHEMA_REGISTRY_URL."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process = process
        self._leash = Leash(process)
        self.url = f"http://127.0.0.1:{port}/apis/ccompat/v7"

    @classmethod
    def start(cls, folder: Path, *properties: str, port: int | None = None) -> Self:
        """Starts one whose schemas live in memory; `properties` are further `-D` settings. Skips the test, or fails it
        in CI, where the registry cannot be had.
        """
        java = _java()
        port = port or free_port()
        settings = {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": str(port),
            "quarkus.management.host": "127.0.0.1",
            "quarkus.management.port": str(free_port()),
            "quarkus.http.access-log.enabled": "false",
            "apicurio.datasource.jdbc.initial-size": "2",
            "apicurio.datasource.jdbc.min-size": "2",
            "apicurio.datasource.jdbc.max-size": "8",
        }
        memory = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        given = [f"-D{name}={value}" for name, value in settings.items()]
        with (folder / "registry.log").open("wb") as log:
            process = subprocess.Popen(
                [str(java), *memory, *given, *properties, "-jar", str(JAR)],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
            )
        registry = cls(process, port)
        try:
            wait_until(registry.answers, 60, f"the registry answers, see {folder / 'registry.log'}")
        except TimeoutError:
            registry.stop()
            raise
        return registry

    def answers(self) -> bool:
        """Whether it serves requests; a 401 is an answer too."""
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=2):
                return True
        except urllib.error.HTTPError as error:
            with error:
                return error.code == 401
        except OSError:
            return False

    def stop(self) -> None:
        self._leash.release()
        self._process.kill()
        self._process.wait()


def _java() -> Path:
    fetched = subprocess.run(
        [sys.executable, "-m", "tests.integration.registry"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    if fetched.returncode == 0:
        return find_java(os.environ)
    why = (fetched.stderr.strip().splitlines() or ["it says nothing"])[-1]
    if os.environ.get("CI") == "true":
        pytest.fail(f"no schema registry in CI: {why}", pytrace=False)
    pytest.skip(f"no schema registry on this machine: {why}")


def fetch() -> None:
    find_java(os.environ)
    if JAR.exists():
        return
    import jgo.maven

    project = jgo.maven.MavenContext().project("io.apicurio", "apicurio-registry-app")
    archive = project.at_version(VERSION).artifact("all", "tar.gz").resolve()
    # unpacked beside its place and renamed: a run that is cut off leaves nothing half done behind
    partial = CACHE.with_name(f"{CACHE.name}.{os.getpid()}")
    partial.mkdir(parents=True)
    with tarfile.open(archive) as tar:
        tar.extractall(partial, filter="data")
    try:
        partial.rename(CACHE)
    except OSError:
        if not JAR.exists():
            raise


if __name__ == "__main__":
    try:
        fetch()
    except (BrokerUnavailableError, ImportError, OSError) as error:
        sys.exit(str(error))
