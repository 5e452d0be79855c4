from dataclasses import replace

import pytest

from benchmarks.sizing import TURNAROUND_SECONDS, SetUp

ENOUGH = 1e9
ONE = SetUp(partitions=1, workers=1, api_seconds=0.5 - TURNAROUND_SECONDS, events_per_body=800)


@pytest.mark.parametrize(
    ("changes", "events_per_second"),
    [
        pytest.param({}, 1_600, id="one body each half second"),
        pytest.param({"in_flight": 8}, 12_800, id="eight at once"),
        pytest.param({"partitions": 8}, 12_800, id="a body of each partition at once"),
        pytest.param({"partitions": 8, "in_flight": 8}, 16_000, id="never more at once than the worker's concurrency"),
        pytest.param({"partitions": 8, "concurrency": 2}, 3_200, id="a small concurrency"),
        pytest.param({"partitions": 8, "concurrency": 2, "workers": 4}, 12_800, id="each worker brings its own"),
        pytest.param({"partitions": 2, "workers": 4}, 3_200, id="a worker without a partition does nothing"),
        pytest.param({"partitions": 8, "requests_per_second": 10.0}, 8_000, id="the rate limit"),
    ],
)
def test_the_narrowest_place_decides(changes: dict[str, float], events_per_second: float) -> None:
    assert replace(ONE, **changes).events_per_second(ENOUGH) == pytest.approx(events_per_second)  # type: ignore[arg-type]  # by name


def test_no_worker_is_quicker_than_its_cpu() -> None:
    assert replace(ONE, partitions=8, workers=2).events_per_second(5_000) == 10_000
