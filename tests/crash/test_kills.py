"""SIGKILL at named points of the worker's own way: nothing is lost, and little is repeated."""

import itertools
from signal import SIGTERM
from typing import Any

import pytest

from tests.crash.conftest import MakeStage, Measured
from tests.crash.driver import Point
from tests.crash.stage import COOPERATIVE, EAGER, KIP_848, Stage, wait_death
from tests.fakes import bodies, put_faults
from tests.integration.audit import Audit
from tests.integration.cluster import Message
from tests.integration.harness import wait_until
from worker.transactions import TRANSACTION_TIMEOUT_MS

SETTINGS: dict[str, Any] = {"BATCH_MAX_EVENTS": "10"}
EVENTS = 300
REFUSED = [
    {"status": 400, "message_id": f"p{partition}_{number}"}
    for partition, number in itertools.product((0, 1), (33, 177))
]
# how often a broker looks for transactions past their time-out
SWEEP_SECONDS = 10
# a process has to start, and to join
MARGIN_SECONDS = 5
SOAK = pytest.mark.soak


def fill(stage: Stage) -> None:
    """Two partitions under way: every answer takes a fifth of a second, every third event is an `identify`, some others
    are refused, and now and then comes something that is no event.
    """
    stage.shorten_session()
    stage.make_topic(partitions=2)
    for _ in range(4):
        stage.produce(EVENTS // 4, partitions=(0, 1), identifying=True)
        stage.produce_messages([Message(b"no event", partition=0), Message(b"no event", partition=1)])
    put_faults(stage.sandbox, *({**fault, "delay_ms": 200} for fault in REFUSED), {"delay_ms": 200})


def finish(stage: Stage) -> None:
    """The rest, and some more, without the delays."""
    put_faults(stage.sandbox, *REFUSED)
    stage.produce(10, partitions=(0, 1), identifying=True)
    stage.wait_settled()


def verify(stage: Stage, died_at: float, measured: Measured) -> Audit:
    """Nothing lost, order kept, no more repeated than the dead one's last fifth of a second, and no successor kept
    waiting for longer than a transaction can stay open.
    """
    run = stage.audit()
    bound = stage.at_risk(died_at, (0, 1))
    seconds = stage.resumed_at(died_at, (0, 1)) - died_at
    measured(repeats=run.repeats.total(), at_most=bound, resumed_after_seconds=seconds)
    run.verify(max_repeats=bound)
    assert seconds <= TRANSACTION_TIMEOUT_MS / 1000 + SWEEP_SECONDS + MARGIN_SECONDS
    return run


@pytest.mark.parametrize(
    ("point", "occurrence"),
    [
        pytest.param(Point.ANSWERED, 12, id="answer received, the core has not heard of it"),
        pytest.param(Point.HALVING, 2, id="in the middle of a halving", marks=SOAK),
        pytest.param(Point.SETTLED, 8, id="settled, no transaction begun", marks=SOAK),
        pytest.param(Point.LETTERS_WRITTEN, 1, id="transaction open, dead letters in it"),
        pytest.param(Point.OFFSETS_WRITTEN, 8, id="transaction open, offsets in it", marks=SOAK),
        pytest.param(Point.COMMITTED, 8, id="committed, the core has not heard of it", marks=SOAK),
    ],
)
def test_sigkill_on_the_way_loses_nothing_and_repeats_what_was_at_risk(
    make_stage: MakeStage, measured: Measured, point: Point, occurrence: int
) -> None:
    stage = make_stage(COOPERATIVE)
    fill(stage)
    with stage.watch_commits() as watch, stage.watch_identities() as identities:
        died_at = wait_death(stage.start_mortal(point, occurrence=occurrence, **SETTINGS))
        stage.start(**SETTINGS)
        finish(stage)
    run = verify(stage, died_at, measured)
    watch.verify(run)
    stage.verify_identities(run, identities)


@pytest.mark.parametrize("protocol", [COOPERATIVE, pytest.param(EAGER, marks=SOAK), pytest.param(KIP_848, marks=SOAK)])
def test_sigkill_between_what_was_learned_and_its_commit_changes_nothing_of_what_is_sent(
    make_stage: MakeStage, measured: Measured, protocol: str
) -> None:
    stage = make_stage(protocol)
    fill(stage)
    with stage.watch_commits() as watch, stage.watch_identities() as identities:
        died_at = wait_death(stage.start_mortal(Point.IDENTITIES_WRITTEN, occurrence=8, **SETTINGS))
        stage.start(**SETTINGS)
        finish(stage)
    run = verify(stage, died_at, measured)
    watch.verify(run)
    stage.verify_identities(run, identities)
    assert bodies(stage.sandbox) == stage.bodies_left_alone(*REFUSED)


@pytest.mark.parametrize(
    ("protocol", "point"),
    [
        (COOPERATIVE, Point.ASSIGNED),
        (COOPERATIVE, Point.REVOKING),
        (EAGER, Point.REVOKING),
        (EAGER, Point.REVOKED),
        (KIP_848, Point.REVOKING),
        (KIP_848, Point.REVOKED),
    ],
)
@SOAK
def test_sigkill_in_a_rebalance_loses_nothing_and_repeats_what_was_at_risk(
    make_stage: MakeStage, measured: Measured, protocol: str, point: Point
) -> None:
    stage = make_stage(protocol)
    fill(stage)
    with stage.watch_commits() as watch, stage.watch_identities() as identities:
        if point is Point.ASSIGNED:
            first = stage.start(**SETTINGS)
            wait_until(lambda: first.logged("batch.delivered"), 40, "the first is at work")
            died_at = wait_death(stage.start_mortal(point, **SETTINGS))
        else:
            first = stage.start_mortal(point, **SETTINGS)
            wait_until(lambda: first.logged("batch.delivered"), 40, "the first is at work")
            stage.start(**SETTINGS)
            died_at = wait_death(first)
        finish(stage)
    run = verify(stage, died_at, measured)
    watch.verify(run)
    stage.verify_identities(run, identities)


@pytest.mark.parametrize(
    ("protocol", "point"),
    [(COOPERATIVE, Point.DRAINING), (COOPERATIVE, Point.LEAVING), (EAGER, Point.LEAVING), (KIP_848, Point.LEFT)],
)
@SOAK
def test_sigkill_in_a_shutdown_loses_nothing_and_repeats_what_was_at_risk(
    make_stage: MakeStage, measured: Measured, protocol: str, point: Point
) -> None:
    stage = make_stage(protocol)
    fill(stage)
    with stage.watch_commits() as watch, stage.watch_identities() as identities:
        first = stage.start_mortal(point, SHUTDOWN_TIMEOUT_SECONDS="4", **SETTINGS)
        wait_until(lambda: len(first.logged("batch.delivered")) > 3, 40, "it is at work")
        first.send_signal(SIGTERM)
        died_at = wait_death(first)
        stage.start(**SETTINGS)
        finish(stage)
    run = verify(stage, died_at, measured)
    watch.verify(run)
    stage.verify_identities(run, identities)
