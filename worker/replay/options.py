"""How far back visitors are looked for: the option `--warm-up`. No look-ups."""

from dataclasses import dataclass

from worker.errors import SettingsError
from worker.moments import moment_ms, span_ms

ALL, NONE = "all", "none"


@dataclass(frozen=True, slots=True)
class WarmUp:
    """So long before the place where reading starts, or since a moment; neither: all that is kept."""

    span_ms: int | None = None
    since_ms: int | None = None
    nothing: bool = False


def warm_up_of(text: str) -> WarmUp:
    """Raises SettingsError."""
    if text in (ALL, NONE):
        return WarmUp(nothing=text == NONE)
    span = span_ms(text)
    if span is not None:
        return WarmUp(span_ms=span)
    try:
        return WarmUp(since_ms=moment_ms(text))
    except ValueError:
        raise SettingsError(
            [f"--warm-up: {text!r} says nothing; allowed: {ALL}, {NONE}, a span like 36h or 30d, or a date"]
        ) from None
