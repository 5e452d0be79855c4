"""Child processes that never outlive this one.

No knowledge of what the child is: the embedded broker, the demo's worker and the tests' workers are held the same way.
"""

import subprocess
from pathlib import Path

# Reads until the pipe's other end is gone, which the kernel sees to even after SIGKILL. A parent-death signal would do
# on Linux alone, and would fire when the thread that started the child ends, not the process.
_WATCH = 'while read -r line; do :; done; kill -KILL "$1"; [ -z "$2" ] || rm -rf -- "$2"'


class Leash:
    """Kills `process`, and removes `folder`, if this process ends without having called `release`, whatever ends it."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path | None = None) -> None:
        # A session of its own: Ctrl-C goes to the whole foreground group, and the watcher has to outlive it.
        self._watcher = subprocess.Popen(
            ["sh", "-c", _WATCH, "leash", str(process.pid), str(folder or "")],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def release(self) -> None:
        """Call before the process is reaped: afterwards its pid may be another's. May be called twice."""
        self._watcher.kill()
        self._watcher.wait()
        if self._watcher.stdin is not None:
            self._watcher.stdin.close()
