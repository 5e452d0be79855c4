"""The process: runs a command and turns what ends it into an exit code. No command's work is done here."""

import sys

import click

from worker.cli import cli
from worker.errors import KafkaStoppedError, SettingsError

PROGRAM = "dreamdata-worker"
STOPPED, UNEXPECTED, WRONG_SETTINGS = 0, 1, 2


def main(arguments: list[str] | None = None) -> None:
    """Console script and `python -m worker`; always raises SystemExit."""
    sys.exit(_exit_code(arguments))


def _exit_code(arguments: list[str] | None) -> int:
    try:
        code = cli.main(arguments, prog_name=PROGRAM, standalone_mode=False)
    except click.exceptions.Abort:
        # Ctrl-C in a command that does not watch for it
        return STOPPED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SettingsError as error:
        _say_problems(error.problems)
        return WRONG_SETTINGS
    except KafkaStoppedError as error:
        click.echo(f"Kafka ended this client: {error}", err=True)
        return UNEXPECTED
    except Exception as error:  # noqa: BLE001  # whatever it is, it ends the process, without a commit and with a traceback
        _log(error)
        return UNEXPECTED
    # a command that returns nothing, or says its code through ctx.exit()
    return code if isinstance(code, int) else STOPPED


def _say_problems(problems: list[str]) -> None:
    count = "One setting is" if len(problems) == 1 else f"{len(problems)} settings are"
    click.echo(f"{count} wrong:", err=True)
    for problem in problems:
        click.echo(f"  - {problem}", err=True)


def _log(error: Exception) -> None:
    # imported late: --help needs neither
    import structlog

    from worker import logs
    from worker.settings.values import LogFormat, LogLevel

    if not structlog.is_configured():
        logs.configure(level=LogLevel.INFO, log_format=LogFormat.AUTO, stream=sys.stderr)
    structlog.get_logger().critical("worker.failed", exc_info=error)


if __name__ == "__main__":
    main()
