import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.harness import wait_until
from worker.demo.broker import accepts_connections

DEMO = [sys.executable, "-m", "worker", "demo"]
ADDRESS = re.compile(r"127\.0\.0\.1:\d+")
SUMMARY = re.compile(r"stopped .*: ([\d,]+) produced · ([\d,]+) delivered, ([\d,]+) filtered, ([\d,]+) dead-lettered")


@pytest.fixture
def live_demo(kafka: str, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], list[str]]]:
    """A running `demo --live` and the addresses of its sandbox, worker and Kafka."""
    output = tmp_path / "demo.out"
    with output.open("wb") as file:
        demo = subprocess.Popen([*DEMO, "--live", "--rate", "50"], stdout=file, stderr=file, start_new_session=True)
    try:
        wait_until(lambda: demo.poll() is not None or "Ctrl-C stops" in output.read_text(), 90, "the demo is up")
        assert demo.poll() is None, output.read_text()
        yield demo, sorted(set(ADDRESS.findall(output.read_text())))
    finally:
        if demo.poll() is None:
            demo.kill()
        demo.wait()


def test_the_demo_adds_up(kafka: str) -> None:
    shown = subprocess.run([*DEMO, "--events", "300"], capture_output=True, text=True, check=False, timeout=110)

    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "It adds up: all 300 records" in shown.stdout
    assert '"email": "jane.doe@acme.com"' in shown.stdout


def test_a_live_demo_that_is_told_to_stop_adds_up_and_leaves_nothing_running(
    live_demo: tuple[subprocess.Popen[bytes], list[str]], tmp_path: Path
) -> None:
    demo, addresses = live_demo
    assert [accepts_connections(address) for address in addresses] == [True, True, True]
    output = tmp_path / "demo.out"
    wait_until(lambda: " produced" in output.read_text(), 60, "it says how much there is")

    demo.send_signal(signal.SIGTERM)

    assert demo.wait(60) == 0
    said = SUMMARY.search(output.read_text())
    assert said
    produced, *ended = (int(count.replace(",", "")) for count in said.groups())
    assert produced == sum(ended) > 0
    assert [accepts_connections(address) for address in addresses] == [False, False, False]


def test_a_live_demo_that_is_killed_leaves_nothing_running(
    live_demo: tuple[subprocess.Popen[bytes], list[str]],
) -> None:
    demo, addresses = live_demo

    demo.kill()

    wait_until(lambda: not any(map(accepts_connections, addresses)), 20, "worker, sandbox and Kafka are gone")
