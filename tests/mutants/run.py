"""Breaks the code in the ways of `table.py`, one at a time, and sees whether the tests notice.

    python -m tests.mutants.run [--tests PATH]... [NAME]...

Every mutant lives in a copy of the tree in a temporary folder; the checkout is only read. The tests of its own module
run first, the rest of the fast ones only if those notice nothing; of a mutant that names its killers, those alone. Exit
code 1: one has survived, its text is not in the code exactly once, or the untouched copy fails already.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click

from tests.mutants.table import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", ".hypothesis", ".*cache", "__pycache__", "dist")
FAST_TESTS = ("tests/unit", "tests/properties")
# looks for the mutants' texts in the code, where one of them is missing now
NOT_FOR_MUTANTS = "tests/unit/test_mutants.py"
PARALLEL = 2
# A mutant may make anything endless; on a machine that has better to do all of it takes many times as long.
TEST_SECONDS = 240
SUITE_SECONDS = 1_200


@dataclass(frozen=True, slots=True)
class Verdict:
    """`killer` is the test that noticed; empty where none did. `broken` says why the run proves nothing."""

    killer: str = ""
    broken: str = ""


def mutated(mutant: Mutant, root: Path) -> str:
    """The text of its file with the mutation in it. Raises ValueError where that does not name one place."""
    text = (root / mutant.file).read_text()
    places = text.count(mutant.before)
    if places != 1:
        raise ValueError(
            f"{mutant.file} has the text of the mutant `{mutant.name}` {places} times; it must be there once"
        )
    return text.replace(mutant.before, mutant.after)


def verdict_of(copy: Path, tests: tuple[str, ...]) -> Verdict:
    """What the first failing test of these says about the tree in `copy`."""
    options = ["-x", "-q", "-rfE", "--no-header", "--tb=no", "-p", "no:cacheprovider", f"--timeout={TEST_SECONDS}"]
    command = [sys.executable, "-m", "pytest", *options, "--hypothesis-profile=mutants", f"--ignore={NOT_FOR_MUTANTS}"]
    try:
        done = subprocess.run(
            [*command, *tests],
            cwd=copy,
            # workers that are started from there are the copy's as well
            env={**os.environ, "COLUMNS": "500", "PYTHONPATH": str(copy)},
            capture_output=True,
            text=True,
            timeout=SUITE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Verdict(broken=f"no end within {SUITE_SECONDS} s")
    if done.returncode == 0:
        return Verdict() if " passed" in done.stdout else Verdict(broken=f"nothing was tested: {done.stdout[-1_000:]}")
    failed = re.search(r"^FAILED (.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    return Verdict(killer=failed[1]) if failed else Verdict(broken=done.stdout[-1_000:] + done.stderr[-1_000:])


def tried(mutant: Mutant | None, tests: tuple[str, ...]) -> Verdict:
    """The verdict on one mutant; on the code as it is, with None."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder)
        shutil.copytree(ROOT, copy, ignore=NOT_COPIED, dirs_exist_ok=True)
        if mutant is None:
            return verdict_of(copy, tests)
        try:
            text = mutated(mutant, copy)
        except ValueError as error:
            return Verdict(broken=str(error))
        (copy / mutant.file).write_text(text)
        if mutant.killers:
            return verdict_of(copy, mutant.killers)
        first = tuple(test for test in mutant.tests if test.startswith(tests) and (copy / test).exists())
        verdict = verdict_of(copy, first) if first else Verdict()
        return verdict if verdict != Verdict() else verdict_of(copy, tests)


def said(mutant: Mutant, verdict: Verdict) -> str:
    if verdict.broken:
        return f"{mutant.name:<42} BROKEN    {verdict.broken}"
    return f"{mutant.name:<42} {'killed' if verdict.killer else 'SURVIVED':<9} {verdict.killer or mutant.harm}"


@click.command()
@click.option("--tests", multiple=True, default=FAST_TESTS, show_default=True, help="Folders or files of tests.")
@click.argument("names", nargs=-1)
def main(tests: tuple[str, ...], names: tuple[str, ...]) -> None:
    """Try all mutants, or those with these NAMES."""
    unknown = set(names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        raise click.UsageError(f"no such mutant: {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    killers = {killer for mutant in chosen for killer in mutant.killers}
    control = tried(None, (*tests, *sorted(killers)))
    if control != Verdict():
        raise click.ClickException(f"the code as it is fails already: {control.killer or control.broken}")
    alive = 0
    with ThreadPoolExecutor(PARALLEL) as pool:
        for mutant, verdict in zip(chosen, pool.map(lambda each: tried(each, tests), chosen), strict=True):
            click.echo(said(mutant, verdict))
            alive += not verdict.killer
    click.echo(f"{len(chosen) - alive} of {len(chosen)} killed")
    sys.exit(1 if alive else 0)


if __name__ == "__main__":
    main()
