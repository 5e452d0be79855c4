import pytest

from worker.moments import iso, moment_ms, span_ms

JUNE = 1_780_272_000_000  # 2026-06-01T00:00:00Z


@pytest.mark.parametrize(
    ("text", "after_ms"),
    [
        ("2026-06-01", 0),
        ("2026-06-01T00:00", 0),
        ("2026-06-01 00:00:01", 1_000),
        ("2026-06-01T00:00:00.250Z", 250),
        ("2026-06-01T02:00:00+02:00", 0),
        ("2026-05-31T17:00-07:00", 0),
    ],
)
def test_a_moment_without_a_zone_is_utc_and_with_one_is_there(text: str, after_ms: int) -> None:
    assert moment_ms(text) == JUNE + after_ms


@pytest.mark.parametrize("text", ["yesterday", "1780272000", "2026-13-01", "", "06/01/2026"])
def test_what_is_no_moment_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="2026-06-01T09:30"):
        moment_ms(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", 90_000), ("5m", 300_000), ("36h", 129_600_000), ("30d", 2_592_000_000), ("2w", 1_209_600_000)],
)
def test_a_span_of_time_has_a_unit(text: str, expected: int) -> None:
    assert span_ms(text) == expected


@pytest.mark.parametrize("text", ["30", "d", "-3d", "all", "1.5h", "2026-06-01"])
def test_what_has_none_is_no_span(text: str) -> None:
    assert span_ms(text) is None


@pytest.mark.parametrize(
    ("epoch_ms", "text"),
    [(JUNE, "2026-06-01T00:00:00Z"), (JUNE + 7, "2026-06-01T00:00:00.007Z"), (-1, "-"), (2**62, "-")],
)
def test_moments_are_written_in_utc(epoch_ms: int, text: str) -> None:
    assert iso(epoch_ms) == text
