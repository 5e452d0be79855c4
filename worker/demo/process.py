"""The worker as a child process: `python -m worker run`, with exactly the settings it is given.

Nothing about what it delivers is in here. Nobody waits in here either, but for the process to end.
"""

import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from worker.demo.broker import free_port
from worker.demo.leash import Leash
from worker.errors import WorkerError

# Without these there is no Python. What else the user has set (a real API key, say) is none of this worker's business.
_INHERITED = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "TMPDIR")
# what Python is started with
RUN = ("-m", "worker", "run")
_LOG_TAIL_CHARACTERS = 4_000


class WorkerEndedError(WorkerError):
    """Stop: the worker process is gone though nobody ended it; the message has the end of its log."""


class WorkerProcess:
    """Its output goes to `log`. End it with `close`, which kills what still runs; it also dies with this process."""

    def __init__(self, settings: Mapping[str, str], log: Path, *, program: Sequence[str] = RUN) -> None:
        self.port = int(settings.get("PORT") or free_port())
        self.log = log
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, *program],
                env={**inherited, "LOG_FORMAT": "json", **settings, "PORT": str(self.port)},
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C goes to the whole foreground group; when this worker stops is for its parent to say.
                start_new_session=True,
            )
        self._leash = Leash(self._process)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of one of the worker's own pages; raises OSError while nothing listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except http.client.HTTPException as error:
            raise OSError(f"no whole answer from the worker: {error!r}") from error
        finally:
            connection.close()

    def check_running(self) -> None:
        """Raises WorkerEndedError once the process is gone."""
        if self.exit_code is not None:
            raise WorkerEndedError(f"The worker ended with exit code {self.exit_code}.\n{self.log_tail()}")

    def is_ready(self) -> bool:
        """False also while nothing listens yet; raises WorkerEndedError once the process is gone."""
        self.check_running()
        try:
            return self.get("/readyz")[0] == 200
        except OSError:
            return False

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait_exit(self, timeout_seconds: float) -> int:
        """The exit code; raises TimeoutError with the end of the log."""
        try:
            return self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"the worker still runs after {timeout_seconds} s\n{self.log_tail()}") from error

    def terminate(self, timeout_seconds: float = 40) -> int:
        """SIGTERM; returns the exit code. Raises TimeoutError."""
        self.send_signal(signal.SIGTERM)
        return self.wait_exit(timeout_seconds)

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def log_tail(self) -> str:
        return f"The end of {self.log}:\n{self.log_text()[-_LOG_TAIL_CHARACTERS:]}"

    def close(self) -> None:
        self._leash.release()
        if self.exit_code is None:
            self._process.kill()
        self._process.wait()
