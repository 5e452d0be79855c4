import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.sender import Backoff, TokenBucket

A_SECOND_MS = 1_000


def starts_ms(rate: float, *, for_ms: int, bucket: TokenBucket | None = None) -> list[int]:
    """When requests start, asked every millisecond by somebody who always has one to send."""
    bucket = bucket or TokenBucket(rate)
    starts: list[int] = []
    for now_ms in range(for_ms):
        while bucket.wait_seconds(now_ms / 1_000) == 0.0:
            bucket.take(now_ms / 1_000)
            starts.append(now_ms)
    return starts


def most_within(starts: list[int], window_ms: int) -> int:
    return max(sum(start <= other < start + window_ms for other in starts) for start in starts)


def test_the_first_attempt_waits_for_nothing() -> None:
    assert Backoff().seconds(0) == 0.0


@given(st.integers(1, 5_000), st.floats(0.001, 3_600), st.floats(0.001, 3_600))
def test_a_retry_waits_no_longer_than_its_doubled_initial_or_the_maximum(
    retry: int, initial_seconds: float, max_seconds: float
) -> None:
    most = min(initial_seconds * 2 ** min(retry - 1, 1_000), max_seconds)
    assert 0.0 <= Backoff(initial_seconds, max_seconds).seconds(retry) <= most


@pytest.mark.parametrize(
    ("retry", "most"),
    [
        pytest.param(1, 1.0, id="first"),
        pytest.param(2, 2.0, id="second"),
        pytest.param(4, 8.0, id="fourth"),
        pytest.param(7, 60.0, id="capped"),
        pytest.param(100_000, 60.0, id="after a day"),
    ],
)
def test_the_jitter_is_full(retry: int, most: float) -> None:
    drawn = [Backoff(1.0, 60.0).seconds(retry) for _ in range(300)]
    assert min(drawn) < most * 0.2
    assert max(drawn) > most * 0.8


@pytest.mark.parametrize("rate", [1, 3, 10, 25, 97, 100, 250])
def test_no_second_has_more_starts_than_the_rate_even_after_a_pause(rate: int) -> None:
    bucket = TokenBucket(rate)
    bucket.take(-3_600.0)
    assert most_within(starts_ms(rate, for_ms=3 * A_SECOND_MS, bucket=bucket), A_SECOND_MS) <= rate


@pytest.mark.parametrize("rate", [1, 10, 100, 250])
def test_whoever_always_has_something_to_send_gets_the_whole_rate(rate: int) -> None:
    assert len(starts_ms(rate, for_ms=4 * A_SECOND_MS)) >= 4 * rate * 0.97


@pytest.mark.parametrize(("rate", "burst"), [(1, 1), (10, 1), (25, 2), (100, 10), (1_000, 100)])
def test_a_burst_is_a_tenth_of_a_second_and_one_at_least(rate: int, burst: int) -> None:
    assert len(starts_ms(rate, for_ms=1)) == burst


@given(st.floats(0.01, 500), st.lists(st.floats(0, 0.3), min_size=1, max_size=60))
def test_over_any_stretch_there_are_no_more_starts_than_the_rate_and_one_burst(
    rate: float, pauses: list[float]
) -> None:
    bucket, now, starts = TokenBucket(rate), 0.0, list[float]()
    for pause in pauses:
        now += pause
        while bucket.wait_seconds(now) == 0.0:
            bucket.take(now)
            starts.append(now)
    burst = max(1.0, rate / 10)
    for first, start in enumerate(starts):
        for last in range(first, len(starts)):
            assert last - first + 1 <= (starts[last] - start) * rate + burst + 1e-6


@pytest.mark.parametrize(
    "rate", [pytest.param(0.1, id="one in ten seconds"), pytest.param(7, id="seven"), pytest.param(100, id="hundred")]
)
def test_after_the_wait_it_names_a_start_is_free(rate: float) -> None:
    bucket = TokenBucket(rate)
    starts_ms(rate, for_ms=1, bucket=bucket)
    assert bucket.wait_seconds(bucket.wait_seconds(0.0)) == pytest.approx(0.0, abs=1e-9)


def test_while_the_clock_stands_still_nothing_comes_back() -> None:
    bucket = TokenBucket(10)
    bucket.take(5.0)
    assert [bucket.wait_seconds(5.0) for _ in range(3)] == pytest.approx([0.1] * 3)
