import pytest

from worker.letters.words import age


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(-5, "0 s"), (59_999, "59 s"), (60_000, "1 min"), (3_599_999, "59 min"), (3_600_000, "1 h"), (90_000_000, "1 d")],
)
def test_an_age_is_rounded_down(milliseconds: int, text: str) -> None:
    assert age(milliseconds) == text
