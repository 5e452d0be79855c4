"""The pipeline under facts in any order. The invariants are the product; the simulator checks most of them at every
command.

Nothing here prefers a likely order: lanes are lost with requests on the wire, answers come late, transactions fail,
schemas are missing.
"""

from collections import Counter
from random import Random

from hypothesis import event, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.builders import PLAN, identify, record, signal, tp, undecodable, without_consent
from tests.simulator import Request, good
from tests.situations import Situation, Watched
from worker.core.batching import SpanState
from worker.core.decoding import SchemaRef
from worker.core.lanes import Limits
from worker.core.outcomes import HoldReason
from worker.core.records import Record, TopicPartition
from worker.core.stretches import Stretch

PARTITIONS = 2
LATER_SCHEMAS = (SchemaRef.of_id(8), SchemaRef.of_id(9))
KINDS = (
    *("good", "good", "good", "long", "filtered", "tombstone", "undecodable", "empty", "later", "invalid"),
    *("identify", "denied"),
)
STATUSES = (200, 200, 200, 400, 400, 413, 422, 401, 403, 403, 404, 302, 429, 500, 500, 503, None)
LANDINGS = ("ok", "ok", "fails", "stays")
# a bound, not a guess: two probes a minute and a back-off of a minute end everything that this machine can start
TURNS_UNTIL_QUIET = 1_000

any_partition = st.integers(0, PARTITIONS - 1)
any_index = st.integers(0, 50)


def made(kind: str, partition: int, offset: int, filler: int) -> Record:
    message_id = f"evt_{partition}_{offset}"
    match kind:
        case "filtered":
            return without_consent(offset)
        case "tombstone":
            return record(offset, None)
        case "undecodable":
            return undecodable(offset)
        case "empty":
            return record(offset, b"")
        case "later":
            return signal(offset, LATER_SCHEMAS[filler % 2], messageId=message_id)
        case "invalid":
            return signal(offset, messageId=message_id, timestamp="2026-06-06")
        case "long":
            return signal(offset, messageId=message_id, properties={"text": "x" * filler})
        case "identify":
            return identify(offset, messageId=message_id, traits={"name": f"Jane {filler}"})
        case "denied":
            return signal(offset, messageId=message_id, context={"consent": {"analytics": False}})
        case _:
            return signal(offset, messageId=message_id)


class PipelineMachine(RuleBasedStateMachine):
    @initialize(
        in_flight=st.integers(1, 3),
        rejection_limit=st.sampled_from([0, 2]),
        give_up=st.sampled_from([None, 300.0]),
        end=st.sampled_from([None, None, 9]),
    )
    def begin(self, in_flight: int, rejection_limit: int, give_up: float | None, end: int | None) -> None:
        self.simulator = Watched(
            Limits(
                batch_max_bytes=1_200,
                batch_max_events=4,
                in_flight=in_flight,
                rejection_limit=rejection_limit,
                give_up_after_seconds=give_up,
            ),
            partitions=PARTITIONS,
        )
        if end is not None and not rejection_limit:  # behind an end no record comes that could acquit others
            self.simulator.partitions[tp(1)].stretch = Stretch(0, end)
        self.simulator.own(0, 1)
        self.unrestored: list[TopicPartition] = []
        self.parked: set[int] = set()
        self.newest: dict[tuple[TopicPartition, int], int] = {}

    @rule(
        partition=any_partition,
        kinds=st.lists(st.sampled_from(KINDS), max_size=12),
        filler=st.integers(0, 1_300),
        markers=st.sampled_from([0, 0, 1]),
        seconds=st.sampled_from([1.0, 1.0, 0.1, 0.0, 31.0, 700.0]),
        count=st.sampled_from([20, 3, 1]),
        starting=st.sampled_from([9, 9, 1, 0]),
        statuses=st.lists(st.sampled_from(STATUSES), max_size=4),
        landing=st.sampled_from([*LANDINGS, "refused"]),
    )
    def turn(
        self,
        partition: int,
        kinds: list[str],
        filler: int,
        markers: int,
        seconds: float,
        count: int,
        starting: int,
        statuses: list[int | None],
        landing: str,
    ) -> None:
        """Something is produced, the loop turns, what may start starts, some of it is answered, a transaction ends."""
        end = self.simulator.partitions[tp(partition)].end
        records = [made(kind, partition, end + place, filler) for place, kind in enumerate(kinds)]
        self.simulator.produce(*records, partition=partition)
        self.simulator.partitions[tp(partition)].end += markers
        self.simulator.now += seconds
        self.simulator.poll(count)
        self.simulator.tick()
        for request in self.simulator.startable()[:starting]:
            self.simulator.start(request)
        for status in statuses[: len(self.simulator.wire)]:
            self.answer_one(self.simulator.wire[0], status)
        if landing != "stays":
            refusal = HoldReason.DEAD_LETTER_REFUSED if landing == "refused" else None
            self.simulator.land(ok=landing == "ok", refusal=refusal)

    @precondition(lambda self: self.simulator.wire)
    @rule(index=any_index, status=st.sampled_from(STATUSES), seconds=st.sampled_from([0.0, 0.1, 30.0]))
    def answer(self, index: int, status: int | None, seconds: float) -> None:
        self.simulator.now += seconds
        self.answer_one(self.simulator.wire[index % len(self.simulator.wire)], status)

    def answer_one(self, request: Request, status: int | None) -> None:
        if status == 200:
            self.check_order(request)
        self.simulator.come_home(request, status)

    def check_order(self, request: Request) -> None:
        batch = request.batch
        lane = (batch.tp, batch.epoch)
        if self.simulator.limits.in_flight == 1 and batch.epoch not in self.parked:
            assert batch.first_offset > self.newest.get(lane, -1), "delivered out of order"
        self.newest[lane] = batch.items[-1].record.offset

    @precondition(lambda self: self.simulator.wanted)
    @rule(answer=st.sampled_from(["known", "unknown", "unavailable"]))
    def ask_the_registry(self, answer: str) -> None:
        ref = self.simulator.wanted[-1].ref
        if answer == "unavailable":
            self.simulator.pipeline.schema_unavailable(ref, "down")
            return
        self.simulator.wanted.pop()
        if answer == "known":
            self.simulator.pipeline.schema_known(ref, PLAN, self.simulator.now)
        else:
            self.simulator.pipeline.schema_unknown(ref, "40403", self.simulator.now)

    @precondition(lambda self: self.simulator.commit)
    @rule(ok=st.sampled_from([True, True, False]), refusal=st.sampled_from([None, HoldReason.DEAD_LETTER_REFUSED]))
    def end_the_transaction(self, *, ok: bool, refusal: HoldReason | None) -> None:
        self.simulator.land(ok=ok, refusal=refusal)

    @precondition(lambda self: self.simulator.pipeline.lanes)
    @rule(
        index=any_index,
        every=st.booleans(),
        lost=st.booleans(),
        landing=st.sampled_from(LANDINGS),
        again=st.booleans(),
    )
    def give_away(self, index: int, *, every: bool, lost: bool, landing: str, again: bool) -> None:
        owned = sorted(self.simulator.pipeline.lanes)
        chosen = owned if every else [owned[index % len(owned)]]
        self.simulator.revoke(chosen, lost=lost, landing=landing)
        self.unrestored = [each for each in self.unrestored if each not in chosen]
        if again:
            self.simulator.own(*(each.partition for each in chosen))

    @rule(taken=st.booleans(), landed=st.booleans())
    def die(self, *, taken: bool, landed: bool) -> None:
        self.simulator.die(taken=taken, landed=landed)
        self.unrestored.clear()
        self.parked.clear()
        self.newest.clear()

    def missing(self) -> list[TopicPartition]:
        taken = {*self.simulator.positions, *self.unrestored}
        return [each for each in self.simulator.partitions if each not in taken]

    @precondition(lambda self: self.missing())
    @rule()
    def take_over(self) -> None:
        self.simulator.assign(self.missing())
        self.unrestored += self.missing()

    @precondition(lambda self: self.unrestored)
    @rule()
    def restore(self) -> None:
        self.simulator.restore(self.unrestored.pop())

    @invariant()
    def note_what_is_parked(self) -> None:
        for lane in self.simulator.pipeline.lanes.values():
            if any(span.state is SpanState.PARKED for span in lane.spans):
                self.parked.add(lane.epoch)

    def teardown(self) -> None:
        if hasattr(self, "simulator"):
            self.end_well()
            for situation in self.simulator.seen:
                event(situation.value)

    def end_well(self) -> None:
        """Left alone with a healthy API and some more traffic, everything ends in an outcome and lag 0."""
        self.all_is_well()
        for _ in range(TURNS_UNTIL_QUIET):
            self.simulator.turn(good, 5.0)
            for wanted in self.simulator.wanted:
                self.simulator.pipeline.schema_known(wanted.ref, PLAN, self.simulator.now)
            self.simulator.wanted.clear()
            if self.simulator.lag() == 0:
                break
            self.trickle()
        assert self.simulator.lag() == 0
        assert self.simulator.held == ()
        assert sum(self.simulator.outcomes().values()) == sum(
            len(there.wanted()) for there in self.simulator.partitions.values()
        )
        self.check_what_was_counted()

    def check_what_was_counted(self) -> None:
        """What has become of a stretch is told by its last commit alone, whoever has made the others."""
        for there in self.simulator.partitions.values():
            if there.stretch is not None:
                assert sum(there.stretch.counted.values()) == len(there.wanted())

    def all_is_well(self) -> None:
        for request in list(self.simulator.wire):
            self.simulator.come_home(request, 200)
        self.simulator.land()
        if self.missing():
            self.take_over()
        while self.unrestored:
            self.simulator.restore(self.unrestored.pop())

    def trickle(self) -> None:
        """What waits for a success, or for a record that decodes, gets one; at most a few, or the end runs away."""
        for partition in range(PARTITIONS):
            there = self.simulator.partitions[tp(partition)]
            if (self.simulator.now % 60) < 5 and self.simulator.positions[tp(partition)] >= there.end:
                self.simulator.produce(made("good", partition, there.end, 0), partition=partition)


TestPipeline = PipelineMachine.TestCase
TestPipeline.settings = settings(max_examples=60, stateful_step_count=40)

STEPS = ("turn",) * 15 + (
    "answer",
    "answer",
    "registry",
    "registry",
    "transaction",
    "give away",
    "take over",
    "restore",
    "die",
)
# what the API is like for a while: a hold for rejections or a suspicion takes several answers of one kind in a row
MOODS: tuple[tuple[int | None, ...], ...] = (
    (200,),
    (200,),
    STATUSES,
    STATUSES,
    (400, 422),
    (403,),
    (500,),
    (500, 200),
    (401, 400),
)


class Walker:
    """Chooses steps that are likely to go on: the machine's own choice seldom gets as far as a commit after a hold."""

    def __init__(self, machine: PipelineMachine, dice: Random) -> None:
        self.machine = machine
        self.dice = dice
        self.mood = MOODS[0]

    def step(self) -> None:
        dice, machine, simulator = self.dice, self.machine, self.machine.simulator
        if dice.random() < 0.08:
            self.mood = dice.choice(MOODS)
        match dice.choice(STEPS):
            case "turn":
                machine.turn(
                    partition=dice.randrange(PARTITIONS),
                    kinds=dice.choices(KINDS, k=dice.choice([0, 0, 1, 3, 12])),
                    filler=dice.randint(0, 1_300),
                    markers=dice.choice([0, 0, 1]),
                    seconds=dice.choice([1.0, 1.0, 0.1, 0.0, 31.0, 31.0, 700.0]),
                    count=dice.choice([20, 3, 1]),
                    starting=dice.choice([9, 9, 1, 0]),
                    statuses=dice.choices(self.mood, k=dice.randint(0, 4)),
                    landing=dice.choice([*LANDINGS, "refused"]),
                )
            case "answer" if simulator.wire:
                machine.answer(
                    index=dice.randint(0, 50), status=dice.choice(self.mood), seconds=dice.choice([0.0, 30.0])
                )
            case "registry" if simulator.wanted:
                machine.ask_the_registry(answer=dice.choice(["known", "unknown", "unavailable"]))
            case "transaction" if simulator.commit:
                machine.end_the_transaction(ok=dice.random() < 0.5, refusal=dice.choice([None, *HoldReason]))
            case "give away" if simulator.pipeline.lanes:
                machine.give_away(
                    index=dice.randint(0, 50),
                    every=dice.random() < 0.4,
                    lost=dice.random() < 0.3,
                    landing=dice.choice(LANDINGS),
                    again=dice.random() < 0.4,
                )
            case "die" if dice.random() < 0.2:
                machine.die(taken=dice.random() < 0.5, landed=dice.random() < 0.5)
            case "take over" if machine.missing():
                machine.take_over()
            case "restore" if machine.unrestored:
                machine.restore()
        machine.note_what_is_parked()


def walked(seed: int) -> Watched:
    dice = Random(seed)
    machine = PipelineMachine()
    machine.begin(
        in_flight=dice.randint(1, 3),
        rejection_limit=dice.choice([0, 2]),
        give_up=dice.choice([None, 300.0]),
        end=9 if seed % 4 == 0 else None,
    )
    walker = Walker(machine, dice)
    for _ in range(300):
        walker.step()
    machine.end_well()
    return machine.simulator


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_a_long_walk_ends_with_every_record_in_one_outcome(seed: int) -> None:
    for situation in walked(seed).seen:
        event(situation.value)


def test_the_walks_come_through_every_situation() -> None:
    """Always the same walks, so that a build is red for a change and not for the dice.

    `pytest --hypothesis-show-statistics` says how often the tests above come through each.
    """
    seen = sum((walked(seed).seen for seed in range(120)), Counter())

    assert [situation.value for situation in Situation if not seen[situation]] == []
