import pytest

from worker.letters.moments import age, moment_ms

NOW_MS = 1_780_744_274_000  # 2026-06-06T11:11:14.000Z
MINUTE_MS = 60_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-06-06T11:11:14Z", NOW_MS),
        ("2026-06-06T11:11:14", NOW_MS),
        ("2026-06-06 11:11:14.007", NOW_MS + 7),
        ("2026-06-06T13:11:14+02:00", NOW_MS),
        ("2026-06-06", NOW_MS - 11 * 60 * MINUTE_MS - 11 * MINUTE_MS - 14_000),
        ("90s", NOW_MS - 90_000),
        ("5m", NOW_MS - 5 * MINUTE_MS),
        ("2h", NOW_MS - 120 * MINUTE_MS),
        ("3d", NOW_MS - 3 * 24 * 60 * MINUTE_MS),
    ],
)
def test_a_moment_is_a_time_in_utc_or_so_long_ago(text: str, expected: int) -> None:
    assert moment_ms(text, NOW_MS) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "2 h", "-2h", "06/06/2026", "25:00", "9999999d"])
def test_what_is_no_moment_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        moment_ms(text, NOW_MS)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(-5, "0 s"), (59_999, "59 s"), (60_000, "1 min"), (3_599_999, "59 min"), (3_600_000, "1 h"), (90_000_000, "1 d")],
)
def test_an_age_is_rounded_down(milliseconds: int, text: str) -> None:
    assert age(milliseconds) == text
