"""What the image is made of, and its health check, run without an engine: the wheel, and the Dockerfile's own words."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.builders import tap
from tests.dockerfile import ROOT, instructions
from worker.demo.broker import free_port
from worker.metrics import Metrics
from worker.status import StatusServer
from worker.tap.pictures import Pictures


def healthy(port: int) -> bool:
    _, _, words = instructions("HEALTHCHECK")[0].partition(" CMD ")
    program, *arguments = json.loads(words)
    assert program == "python"
    env = {"PATH": os.environ["PATH"], "PORT": str(port), "HTTP_PROXY": "http://127.0.0.1:9"}
    run = subprocess.run([sys.executable, *arguments], env=env, capture_output=True, timeout=30, check=False)
    return run.returncode == 0


def status_server(*, alive: bool) -> StatusServer:
    return StatusServer(
        "127.0.0.1",
        0,
        alive=lambda: alive,
        reasons=lambda: ["held"],
        metrics=Metrics(),
        tap=tap(),
        pictures=Pictures(()),
        console_token=None,
    )


def test_the_health_check_asks_whether_the_worker_is_alive_and_not_whether_it_is_ready() -> None:
    answers = []
    for alive in (True, False):
        status = status_server(alive=alive)
        status.start()
        answers.append(healthy(status.port))
        status.stop()
    assert answers == [True, False]


def test_a_worker_that_does_not_listen_is_not_healthy() -> None:
    assert not healthy(free_port())


def test_the_wheel_holds_every_module_the_page_and_the_schemas(tmp_path: Path) -> None:
    hatchling = Path(sys.executable).with_name("hatchling")
    subprocess.run([hatchling, "build", "--target", "wheel", "--directory", tmp_path], cwd=ROOT, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "worker").rglob("*.py")}
    assert modules | {"worker/sandbox/page.html", "worker/_schemas/signal_event.avsc"} <= held
