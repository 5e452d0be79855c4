"""The command `sandbox`: a stand-in for the Dreamdata API on this machine.

Options and words only; what it does is in `worker.sandbox`, which is imported late so that `--help` stays quick.
"""

import errno
import ipaddress
import os
import signal
import threading
from pathlib import Path
from types import FrameType

import click

from worker.errors import SettingsError

_EPILOG = """\b
Example:
  dreamdata-worker sandbox
  curl -u my-key: -H 'Content-Type: application/json' http://127.0.0.1:8083/v1/batch -d '{"batch": [{"type": "page",
    "anonymousId": "a1", "messageId": "evt_1", "timestamp": "2026-06-06T11:11:14.000Z"}]}'

\b
Order faults, see what is left of them (GET /faults), and clear them:
  curl -X PUT http://127.0.0.1:8083/faults -d '[{"status": 429, "retry_after": "5", "count": 3}]'
  curl -X PUT http://127.0.0.1:8083/faults -d '[{"status": 401}]'
  curl -X PUT http://127.0.0.1:8083/faults -d '[{"status": 400, "message_id": "evt_1"}, {"delay_ms": 500}]'
  curl -X PUT http://127.0.0.1:8083/faults -d '[]'
A fault without a count stays until it is cleared.
"""


@click.command(epilog=_EPILOG)
@click.option("--port", type=click.IntRange(0, 65535), default=8083, show_default=True, help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Beyond loopback, others can read all it is sent.")
def sandbox(port: int, host: str) -> None:
    """Stand in for the Dreamdata API on this machine.

    Checks batches as the API does, keeps the latest events in memory and shows them on a page. Accepts
    DREAMDATA_API_KEY (or the key in DREAMDATA_API_KEY_FILE) as API key, and any key if neither is set.
    """
    from worker.sandbox import Sandbox

    key = _key()
    stand_in = Sandbox(key=key, host=host, port=port)
    try:
        stand_in.start()
    except OSError as error:
        raise SettingsError([_refused(host, port, error)]) from error
    click.echo(f"The sandbox listens on {stand_in.url}: open it in a browser to watch what arrives.")
    click.echo(f"Point a worker at it with DREAMDATA_URL={stand_in.url}, and {_key_hint(key)}. Ctrl-C stops it.")
    if not _is_loopback(host):
        click.echo(f"Everyone who can reach {host} can read what it is sent, personal data included.", err=True)
    _wait_for_the_end()
    stand_in.stop()


def _key() -> str | None:
    key, file = os.environ.get("DREAMDATA_API_KEY"), os.environ.get("DREAMDATA_API_KEY_FILE")
    if key and file:
        raise SettingsError(["DREAMDATA_API_KEY and DREAMDATA_API_KEY_FILE are both set: unset one of them"])
    if not file:
        return key or None
    try:
        text = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SettingsError([f"DREAMDATA_API_KEY_FILE: {file} cannot be read: {reason}"]) from error
    if not text:
        raise SettingsError([f"DREAMDATA_API_KEY_FILE: {file} is empty"])
    return text


def _key_hint(key: str | None) -> str:
    return "any DREAMDATA_API_KEY" if key is None else "the same API key as here"


def _refused(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken: stop what listens there, or choose another with --port"
    return f"cannot listen on {host}, port {port}: {error.strerror or error}"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _wait_for_the_end() -> None:
    """Returns on SIGINT or SIGTERM."""
    ended = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    ended.wait()
