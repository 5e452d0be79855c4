"""A process that is alive without progress: its own thread ends it, with stacks and lanes in the log."""

import json
import subprocess
import sys

STARVED = """
import sys, threading, time
from tests.builders import TP, pipeline
from worker import logs
from worker.running import end_starved
from worker.settings.values import LogFormat, LogLevel
from worker.watchdog import Watchdog

logs.configure(level=LogLevel.INFO, log_format=LogFormat.JSON, stream=sys.stderr)
held = pipeline()
held.assigned([TP])
watchdog = Watchdog(0.2, time.monotonic, lambda stacks: end_starved(held, stacks))
watchdog.start()
watchdog.turned(1, owing=True)
threading.Event().wait()
"""


def test_a_starved_process_ends_with_4_and_says_where_every_thread_was() -> None:
    ended = subprocess.run([sys.executable, "-c", STARVED], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 4, ended.stderr
    [line] = [json.loads(line) for line in ended.stderr.splitlines()]
    assert line["event"] == "worker.starved"
    assert "wait" in line["stacks"]["MainThread"]
    assert line["lanes"][0].startswith("delivery-dreamdata[0] epoch 1")
