import click
import pytest
from click.testing import CliRunner

from worker.cli.replay import replay


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        pytest.param(("--name", "june", "drop", "t1"), "--name: not before `drop`", id="a name"),
        pytest.param(("--dry-run", "--rate", "5", "list"), "--rate, --dry-run: not before `list`", id="several"),
        pytest.param(("--from", "beginning", "list"), "--from: not before `list`", id="a range"),
    ],
)
def test_options_before_a_subcommand_are_refused(arguments: tuple[str, ...], named: str) -> None:
    ended = CliRunner().invoke(replay, arguments)

    assert ended.exit_code == click.UsageError.exit_code == 2
    assert named in ended.output
