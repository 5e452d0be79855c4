import pytest

from worker.check.results import Result, exit_code, finding, ok, skipped, summary, warning

OK, SKIPPED = ok("a", "fine"), skipped("a", "no broker")
WARNING, FINDING = warning("a", "odd", "look"), finding("a", "wrong", "mend")


@pytest.mark.parametrize(
    ("results", "code", "words"),
    [
        pytest.param([OK], 0, "No findings.", id="all well"),
        pytest.param([OK, WARNING, SKIPPED], 0, "No findings, 1 warning, 1 skipped.", id="warnings do not count"),
        pytest.param([FINDING, OK], 3, "1 finding.", id="one finding"),
        pytest.param([FINDING, WARNING, FINDING, WARNING], 3, "2 findings, 2 warnings.", id="several"),
    ],
)
def test_a_finding_and_nothing_else_makes_exit_code_3(results: list[Result], code: int, words: str) -> None:
    assert (exit_code(results), summary(results)) == (code, words)
