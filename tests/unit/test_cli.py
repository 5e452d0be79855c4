import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import click
import pytest

from worker import __version__
from worker.__main__ import main
from worker.cli import COMMANDS
from worker.errors import KafkaStoppedError, SettingsError


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    import logging

    import structlog

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(capture=False)
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def ended(*arguments: str) -> object:
    with pytest.raises(SystemExit) as raised:
        main(list(arguments))
    return raised.value.code


@pytest.fixture
def run_does(monkeypatch: pytest.MonkeyPatch) -> dict[str, BaseException | int]:
    """Puts a command into `run`'s place, by the name it is looked up under."""
    script: dict[str, BaseException | int] = {}

    @click.command()
    @click.pass_context
    def run(ctx: click.Context) -> None:
        what = script.get("what", 0)
        if isinstance(what, BaseException):
            raise what
        ctx.exit(what)

    module = ModuleType(COMMANDS["run"].module)
    module.run = run  # type: ignore[attr-defined]  # a module made by hand
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return script


@pytest.mark.parametrize("collecting", ["enable", "disable"])
def test_nothing_is_collected_while_a_command_is_imported(collecting: str) -> None:
    code = (
        "import gc, importlib.abc, sys, worker.cli as c\n"
        "class Seen(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        seen.add(gc.isenabled())\n"
        "seen = set()\n"
        "sys.meta_path.insert(0, Seen())\n"
        f"gc.{collecting}()\n"
        "c.cli.get_command(c.click.Context(c.cli), 'tap')\n"
        "print(seen, gc.isenabled())"
    )
    assert last_line_of(code) == f"{{False}} {collecting == 'enable'}"


def test_help_lists_every_command_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("--help") == 0
    page = " ".join(capsys.readouterr().out.split())
    assert [name for name, place in COMMANDS.items() if f"{name} {place.short_help}" not in page] == []


def last_line_of(code: str) -> str:
    """What a Python of its own prints last."""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.splitlines()[-1]


def test_help_imports_no_command_and_no_heavy_library() -> None:
    code = (
        "import sys, contextlib, worker.__main__ as m\n"
        "with contextlib.suppress(SystemExit): m.main(['--help'])\n"
        "print(sorted(n for n in sys.modules if n.startswith('worker.cli.')"
        " or n in ('pydantic', 'structlog', 'requests', 'confluent_kafka', 'rich', 'starlette')))"
    )
    assert last_line_of(code) == "[]"


def test_a_worker_without_a_registry_does_not_load_its_client() -> None:
    code = (
        "import sys, worker.cli.run, worker.assembly as a\n"
        "from worker.settings import load\n"
        "assert a.registry_of(load({'CONSENT_CATEGORIES': 'not-required'}, None, api_key_required=False)) is None\n"
        "print(sorted(n for n in sys.modules if n in ('worker.registry', 'authlib', 'httpx2', 'cryptography')))"
    )
    assert last_line_of(code) == "[]"


def test_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("--version") == 0
    assert capsys.readouterr().out == f"dreamdata-worker, version {__version__}\n"


@pytest.mark.parametrize("arguments", [["nothing"], ["--nothing"], []], ids=["command", "option", "none"])
def test_wrong_arguments_are_exit_code_2(arguments: list[str]) -> None:
    assert ended(*arguments) == 2


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_shell_gets_its_completion(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_DREAMDATA_WORKER_COMPLETE", f"{shell}_source")
    assert ended() == 0
    assert "dreamdata-worker" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("what", "code"),
    [
        pytest.param(0, 0, id="stopped-as-asked"),
        pytest.param(3, 3, id="a-code-of-its-own"),
        pytest.param(KeyboardInterrupt(), 0, id="ctrl-c"),
        pytest.param(SettingsError(["PORT is wrong."]), 2, id="wrong-settings"),
        pytest.param(click.UsageError("no"), 2, id="wrong-arguments"),
        pytest.param(KafkaStoppedError("fenced"), 1, id="kafka-ended-it"),
        pytest.param(ValueError("jane.doe@acme.com"), 1, id="unexpected"),
    ],
)
def test_what_ends_a_command_is_its_exit_code(
    what: BaseException | int, code: int, run_does: dict[str, BaseException | int]
) -> None:
    run_does["what"] = what
    assert ended("run") == code


def test_all_problems_with_the_settings_are_listed(
    run_does: dict[str, BaseException | int], capsys: pytest.CaptureFixture[str]
) -> None:
    run_does["what"] = SettingsError(["PORT is wrong.", "HOST is wrong."])
    ended("run")
    assert capsys.readouterr().err == "2 settings are wrong:\n  - PORT is wrong.\n  - HOST is wrong.\n"


def test_an_unexpected_exception_leaves_a_traceback_without_its_data(
    run_does: dict[str, BaseException | int], capsys: pytest.CaptureFixture[str]
) -> None:
    run_does["what"] = ValueError("jane.doe@acme.com")
    ended("run")
    said = capsys.readouterr().err
    assert "worker.failed" in said
    assert "test_cli.py" in said
    assert "jane.doe" not in said
