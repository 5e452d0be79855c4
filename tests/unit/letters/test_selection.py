import pytest

from tests.builders import signal
from tests.unit.letters.test_reopening import GROUP, lying
from worker.dead_letters import opened
from worker.letters.selection import Ownership, State


@pytest.mark.parametrize(
    ("redrives", "limit", "behind", "state"),
    [
        pytest.param(2, 3, False, State.WAITING, id="once more"),
        pytest.param(2, 3, True, State.REDRIVEN, id="gone past"),
        pytest.param(3, 3, False, State.EXHAUSTED, id="will be passed by"),
        pytest.param(3, 3, True, State.EXHAUSTED, id="was passed by"),
        pytest.param(3, 10, False, State.WAITING, id="may be sent with a higher limit"),
        pytest.param(3, 10, True, State.PASSED, id="was perhaps never sent"),
        pytest.param(2, 10, True, State.REDRIVEN, id="was sent"),
    ],
)
def test_what_was_passed_by_is_not_said_to_be_sent(redrives: int, limit: int, state: State, *, behind: bool) -> None:
    letter = opened(lying(signal(1), redrives=redrives))
    assert Ownership(GROUP, limit).state(letter, 5, 6 if behind else 5) is state
