import io
import json
import logging
import re
import warnings
from collections.abc import Iterator

import pytest
import structlog

from worker.errors import WorkerError
from worker.logs import MAX_THROTTLE_KEYS, Throttle, configure, describe
from worker.settings.values import LogFormat, LogLevel


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(capture=False)
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def configured(
    level: LogLevel = LogLevel.INFO, log_format: LogFormat = LogFormat.JSON, stream: io.StringIO | None = None
) -> io.StringIO:
    stream = stream or io.StringIO()
    configure(level=level, log_format=log_format, stream=stream)
    return stream


def line(stream: io.StringIO) -> dict[str, object]:
    (only,) = stream.getvalue().splitlines()
    parsed = json.loads(only)
    assert isinstance(parsed, dict)
    return parsed


def raised(error: BaseException) -> BaseException:
    jane = "jane.doe@acme.com"
    assert jane
    try:
        raise error
    except type(error) as caught:
        return caught


def test_a_line_is_json_with_the_event_its_level_and_its_values() -> None:
    stream = configured()
    structlog.get_logger().info("batch.delivered", topic="delivery-a", next_offset=7)
    said = line(stream)
    assert (said["event"], said["level"], said["topic"], said["next_offset"]) == (
        "batch.delivered",
        "info",
        "delivery-a",
        7,
    )


def test_a_line_begins_with_the_time_in_utc_to_the_millisecond() -> None:
    stream = configured()
    structlog.get_logger().info("worker.started")
    assert re.match(r'\{"timestamp": "\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", ', stream.getvalue())


@pytest.mark.parametrize(
    ("log_format", "stream", "is_json"),
    [
        pytest.param(LogFormat.AUTO, io.StringIO, True, id="auto-elsewhere"),
        pytest.param(LogFormat.AUTO, Terminal, False, id="auto-on-a-terminal"),
        pytest.param(LogFormat.JSON, Terminal, True, id="json-on-a-terminal"),
        pytest.param(LogFormat.CONSOLE, io.StringIO, False, id="console-elsewhere"),
    ],
)
def test_the_format_follows_the_setting_and_the_stream(
    log_format: LogFormat,
    stream: type[io.StringIO],
    is_json: bool,  # noqa: FBT001  # a table's column
) -> None:
    written = configured(log_format=log_format, stream=stream())
    structlog.get_logger().info("worker.started")
    assert written.getvalue().startswith("{") is is_json
    assert "worker.started" in written.getvalue()


def test_a_line_below_the_level_is_not_written() -> None:
    stream = configured(level=LogLevel.WARNING)
    structlog.get_logger().info("worker.started")
    assert stream.getvalue() == ""


def test_a_library_s_warning_is_a_line_like_ours() -> None:
    stream = configured()
    logging.getLogger("urllib3.connectionpool").warning("pool %s is full", "a")
    said = line(stream)
    assert (said["event"], said["library"], said["text"], said["level"]) == (
        "library.logged",
        "urllib3.connectionpool",
        "pool a is full",
        "warning",
    )


@pytest.mark.parametrize("level", [LogLevel.DEBUG, LogLevel.INFO])
def test_a_library_is_not_heard_below_a_warning(level: LogLevel) -> None:
    stream = configured(level=level)
    logging.getLogger("uvicorn.error").info("started")
    assert stream.getvalue() == ""


def test_a_python_warning_goes_to_the_log() -> None:
    stream = configured()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert line(stream)["library"] == "py.warnings"


@pytest.mark.parametrize("log_format", [LogFormat.JSON, LogFormat.CONSOLE])
def test_a_traceback_names_the_place_but_no_local_variable_and_no_quoted_data(
    log_format: LogFormat,
) -> None:
    stream = configured(log_format=log_format)
    structlog.get_logger().error("worker.failed", exc_info=raised(KeyError("jane.doe@acme.com")))
    assert "in raised" in stream.getvalue()
    assert "KeyError" in stream.getvalue()
    assert "jane.doe" not in stream.getvalue()


def test_a_library_s_traceback_is_cleaned_the_same_way() -> None:
    stream = configured()
    logging.getLogger("uvicorn.error").error("failed", exc_info=raised(ValueError("secret of acme.com")))
    assert "secret of" not in stream.getvalue()
    assert "ValueError" in stream.getvalue()


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        pytest.param(WorkerError("delivery-a[0]@7"), True, id="our-own"),
        pytest.param(OSError("delivery-a[0]@7"), True, id="system"),
        pytest.param(TypeError("delivery-a[0]@7"), True, id="type"),
        pytest.param(ValueError("delivery-a[0]@7"), False, id="value"),
        pytest.param(LookupError("delivery-a[0]@7"), False, id="lookup"),
    ],
)
def test_the_text_of_an_exception_is_shown_where_it_cannot_quote_data(error: Exception, shown: bool) -> None:  # noqa: FBT001  # a table's column
    assert ("delivery-a[0]@7" in describe(error)) is shown


def test_what_led_to_an_exception_stands_above_it() -> None:
    cause = raised(OSError("first"))
    error = WorkerError("second")
    error.__cause__ = cause
    said = describe(error)
    assert said.index("first") < said.index("which led to") < said.index("second")


def test_a_ring_of_exceptions_ends() -> None:
    one, other = WorkerError("one"), WorkerError("other")
    one.__cause__, other.__cause__ = other, one
    assert describe(one).count("WorkerError") == 10


def test_an_object_json_does_not_know_is_named_by_its_type_alone() -> None:
    stream = configured()
    structlog.get_logger().info("batch.delivered", what={1, 2})
    assert line(stream)["what"] == "<set>"


class Hands:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_first_line_of_a_key_is_let_through() -> None:
    assert Throttle(60, Hands()).admit("registry") == 0


def test_a_key_is_let_through_once_in_its_time() -> None:
    clock = Hands()
    throttle = Throttle(60, clock)
    throttle.admit("registry")
    clock.now += 59.9
    assert throttle.admit("registry") is None


def test_the_next_line_says_how_many_were_kept_back() -> None:
    clock = Hands()
    throttle = Throttle(60, clock)
    for _ in range(4):
        throttle.admit("registry")
    clock.now += 60
    assert throttle.admit("registry") == 3
    clock.now += 60
    assert throttle.admit("registry") == 0


def test_keys_do_not_hold_each_other_back() -> None:
    throttle = Throttle(60, Hands())
    throttle.admit("registry")
    assert throttle.admit("broker") == 0


def test_a_throttle_remembers_a_bounded_number_of_keys() -> None:
    throttle = Throttle(60, Hands())
    for key in range(MAX_THROTTLE_KEYS + 1):
        throttle.admit(key)
    assert throttle.admit(1) is None
    assert throttle.admit(0) == 0
