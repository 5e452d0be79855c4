"""Faults a user or a test orders: which request gets one, and how often.

They are only chosen in here; the waiting and answering is the app's.
"""

import threading
from collections.abc import Sequence
from typing import Annotated

import msgspec

HANG_UP = 0  # the status that stands for "close the connection without an answer"


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Waits `delay_ms`, then answers `status` without looking further; without one the request goes its usual way.

    For requests whose batch holds `message_id`, or for any; `count` times, or until it is cleared.
    """

    status: Annotated[int, msgspec.Meta(ge=0, le=599)] | None = None
    delay_ms: Annotated[int, msgspec.Meta(ge=0, le=3_600_000)] = 0
    retry_after: str | int | None = None
    message_id: str | None = None
    count: Annotated[int, msgspec.Meta(ge=1)] | None = None


class FaultError(ValueError):
    """Reject: what was ordered makes no sense. `problems` has one sentence a fault."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def read_faults(body: bytes) -> list[Fault]:
    """The faults in a JSON array; FaultError tells what is wrong with each that is no fault."""
    try:
        entries = msgspec.json.decode(body, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FaultError([f"not a JSON array of faults: {error}"]) from error
    faults, problems = [], []
    for index, entry in enumerate(entries):
        try:
            faults.append(fault := msgspec.json.decode(entry, type=Fault))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            problems.append(f"faults[{index}]: {error}")
            continue
        if problem := _problem(fault):
            problems.append(f"faults[{index}]: {problem}")
    if problems:
        raise FaultError(problems)
    return faults


def _problem(fault: Fault) -> str:
    if fault.status is None and not fault.delay_ms:
        return "needs a status (0 = hang up, or 200 to 599), a delay_ms, or both"
    if fault.status is not None and fault.status != HANG_UP and fault.status < 200:
        return f"status {fault.status} is neither 0 (hang up) nor 200 to 599"
    if fault.retry_after is not None and not fault.status:
        return "a retry_after goes out with a status only"
    return ""


class Faults:
    """The faults in force, in order. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def put(self, faults: Sequence[Fault]) -> None:
        """Replaces what is in force."""
        with self._lock:
            self._faults = list(faults)

    def left(self) -> list[Fault]:
        with self._lock:
            return list(self._faults)

    def take(self, message_ids: Sequence[str]) -> Fault | None:
        """The first fault for a request with these messageIds; it counts as used."""
        with self._lock:
            for place, fault in enumerate(self._faults):
                if fault.message_id is None or fault.message_id in message_ids:
                    self._faults[place : place + 1] = _used(fault)
                    return fault
        return None


def _used(fault: Fault) -> list[Fault]:
    if fault.count is None:
        return [fault]
    return [msgspec.structs.replace(fault, count=fault.count - 1)] if fault.count > 1 else []
