"""How log lines look, and how few there are. No line is written here; none may hold a payload, a trait or a secret.

An event is a dotted name in the past tense with its values beside it: `log.info("batch.delivered", topic=…)`.
"""

import logging
import sys
import traceback
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from datetime import UTC, datetime
from threading import Lock
from types import TracebackType
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from worker.errors import WorkerError
from worker.settings.values import LogFormat, LogLevel

MAX_THROTTLE_KEYS = 1_000
MAX_CHAIN = 10

# the texts of these name types, files and code; a KeyError or ValueError quotes what it was given
_HARMLESS = (WorkerError, OSError, TypeError, AttributeError, NameError, ImportError, RuntimeError, MemoryError)


def configure(*, level: LogLevel, log_format: LogFormat, stream: TextIO) -> None:
    """Sends every line of this process to `stream`, the libraries' own included; called once, by the command.

    `auto` is for eyes on a terminal, JSON elsewhere. A library is heard from a warning on, as `library.logged`.
    """
    console = log_format is LogFormat.CONSOLE or (log_format is LogFormat.AUTO and stream.isatty())
    shared: list[Processor] = [structlog.processors.add_log_level, _add_timestamp, _format_exception]
    if console:
        # _format_exception has made text of it; the renderer's own way prints local variables
        renderer: Processor = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    else:
        renderer = structlog.processors.JSONRenderer(default=_type_name)
    lowest = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(lowest),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_rename_foreign, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(logging.WARNING, lowest))
    logging.captureWarnings(capture=True)


def _add_timestamp(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"timestamp": now, **event}


def _rename_foreign(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    record: logging.LogRecord = event["_record"]
    return {**event, "event": "library.logged", "library": record.name, "text": event["event"]}


def _type_name(value: object) -> str:
    """For what JSON has no form for: its repr() could be anybody's data."""
    return f"<{type(value).__name__}>"


def _format_exception(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["exception"] = describe(error)
    return event


def describe(error: BaseException) -> str:
    """The traceback, without local variables, and without the texts of exceptions that may quote data."""
    parts: list[str] = []
    for link, heading in _chain(error):
        text = f": {link}" if isinstance(link, _HARMLESS) and not isinstance(link, UnicodeError) else ""
        parts.append(
            "".join([*_frames(link.__traceback__), f"{type(link).__module__}.{type(link).__qualname__}{text}"])
        )
        if heading:
            parts.append(heading)
    return "\n".join(reversed(parts))


def _chain(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    """The exception, then what led to it, each with the words that stand above it."""
    link: BaseException | None = error
    for _ in range(MAX_CHAIN):
        if link is None:
            return
        hidden = link.__suppress_context__
        earlier = link.__cause__ or (None if hidden else link.__context__)
        yield link, "" if earlier is None else "which led to" if link.__cause__ else "and while that was handled"
        link = earlier


def _frames(trace: TracebackType | None) -> list[str]:
    return traceback.format_list(traceback.extract_tb(trace))


class Throttle:
    """Lets one line in `seconds` through for each key, and counts what it kept back.

    For what repeats while something is broken. Remembers the 1,000 keys that were let through last. Safe on any thread.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._lock = Lock()
        self._keys: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def admit(self, key: Hashable) -> int | None:
        """None when this line is one too many; else how many were kept back since the last one of its key."""
        with self._lock:
            now = self._clock()
            admitted_at, silenced = self._keys.get(key, (None, 0))
            if admitted_at is not None and now - admitted_at < self._seconds:
                self._keys[key] = (admitted_at, silenced + 1)
                return None
            self._keys[key] = (now, 0)
            self._keys.move_to_end(key)
            if len(self._keys) > MAX_THROTTLE_KEYS:
                self._keys.popitem(last=False)
            return silenced
