"""What one check found, and what several amount to. No check is made here, and nothing is written."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

FOUND_SOMETHING = 3


class Verdict(StrEnum):
    """`warning`: allowed, but perhaps not meant. `finding`: something will fail, or fails already."""

    OK = "ok"
    WARNING = "warning"
    FINDING = "finding"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Result:
    """A line: `what` is a sentence without its full stop, `remedy` what to do, `details` for whoever looks closer."""

    area: str
    verdict: Verdict
    what: str
    remedy: str = ""
    details: tuple[str, ...] = ()


def ok(area: str, what: str, *details: str) -> Result:
    return Result(area, Verdict.OK, what, details=details)


def warning(area: str, what: str, remedy: str, *details: str) -> Result:
    return Result(area, Verdict.WARNING, what, remedy, details)


def finding(area: str, what: str, remedy: str, *details: str) -> Result:
    return Result(area, Verdict.FINDING, what, remedy, details)


def skipped(area: str, why: str) -> Result:
    return Result(area, Verdict.SKIPPED, why)


def exit_code(results: Iterable[Result]) -> int:
    """3 where there is a finding; warnings and what was skipped do not count."""
    return FOUND_SOMETHING if any(result.verdict is Verdict.FINDING for result in results) else 0


def summary(results: Iterable[Result]) -> str:
    """In words, as `2 findings, 1 warning, 3 skipped`."""
    verdicts = [result.verdict for result in results]
    findings = _counted(verdicts.count(Verdict.FINDING), "finding") or "No findings"
    warnings = _counted(verdicts.count(Verdict.WARNING), "warning")
    left_out = verdicts.count(Verdict.SKIPPED)
    return ", ".join(filter(None, (findings, warnings, f"{left_out} skipped" if left_out else ""))) + "."


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}" if number else ""
