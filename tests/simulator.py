"""A loop, a broker and a sender made of plain values, to drive the real pipeline through time. No network, thread or
clock.

Every command is checked as it comes: what must hold at all times is asserted here once, and not in each test. `Api` is
whatever answers a batch: a function of the batch and the time.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tests.builders import answer, pipeline, tp
from worker.core.batching import Batch, Item
from worker.core.commands import Command, Commit, Deliver, FetchSchema, Hold, LaneCommit, Pause, Release, Resume
from worker.core.decisions import Policy
from worker.core.identity import Known
from worker.core.lanes import Limits
from worker.core.outcomes import Answer, DeadLetter, HoldReason, Outcome, Reason, Verdict
from worker.core.records import Record, TopicPartition
from worker.core.stretches import Stretch

SENT_AT = "2026-06-06T11:11:15.120Z"
BACKOFF_MAX_SECONDS = 60.0

Api = Callable[[Batch, float], int | None]


def ids(batch: Batch) -> list[str]:
    return [item.message_id for item in batch.items]


@dataclass(slots=True)
class Request:
    """One attempt: queued, on the wire, or answered."""

    batch: Batch
    due_at: float
    probe: bool
    started_at: float = -1.0
    status: int | None = None


@dataclass(slots=True)
class Partition:
    """What the broker has of one partition: all of it survives every rebalance and every worker.

    With a `stretch` it is read as far as that goes.
    """

    log: list[Record] = field(default_factory=list)
    end: int = 0
    committed: int | None = None
    dead: dict[int, DeadLetter] = field(default_factory=dict)
    outcomes: Counter[tuple[Outcome, Reason]] = field(default_factory=Counter)
    identities: dict[str, bytes] = field(default_factory=dict)
    stretch: Stretch | None = None

    def wanted(self) -> list[Record]:
        """What is to be read of it."""
        if self.stretch is None:
            return self.log
        return [record for record in self.log if record.offset < self.stretch.end_offset]


class Simulator:
    def __init__(self, limits: Limits | None = None, chosen: Policy | None = None, *, partitions: int = 1) -> None:
        self.limits = limits or Limits()
        self.chosen = chosen
        self.pipeline = pipeline(self.limits, chosen)
        self.partitions = {tp(number): Partition() for number in range(partitions)}
        self.now = 0.0
        self.positions: dict[TopicPartition, int] = {}
        self.paused: set[TopicPartition] = set()
        self.held: tuple[HoldReason, ...] = ()
        self.shut = False
        self.queued: list[Request] = []
        self.wire: list[Request] = []
        self.answered: list[Request] = []
        self.commit: Commit | None = None
        self.fenced = False
        self.commits: list[tuple[float, Commit]] = []
        self.wanted: list[FetchSchema] = []
        self.taken: Counter[str] = Counter()
        self.taken_under: set[tuple[int, str]] = set()
        self.sent: dict[tuple[TopicPartition, int], Item] = {}

    # what the outside does

    def produce(self, *records: Record, partition: int = 0) -> None:
        """Appends records, whatever offsets they have beyond the end; markers may follow by raising `end`."""
        there = self.partitions[tp(partition)]
        there.log.extend(records)
        if records:
            there.end = max(there.end, records[-1].next_offset)

    def own(self, *numbers: int) -> "Simulator":
        """Assigns and restores these partitions, or all."""
        chosen = [tp(number) for number in numbers] or list(self.partitions)
        self.assign(chosen)
        for each in chosen:
            self.restore(each)
        return self

    def assign(self, chosen: Iterable[TopicPartition]) -> None:
        self.pipeline.assigned(list(chosen))

    def restore(self, each: TopicPartition) -> None:
        """A new owner's fetch of offsets waits for the end of a former one's transaction: it is too late to land."""
        there = self.partitions[each]
        self.positions[each] = there.committed or 0
        self.paused.discard(each)
        self.fenced |= self.commit is not None and any(share.tp == each for share in self.commit.lanes)
        known = Known(dict(there.identities), {})
        self.pipeline.restored(each, there.committed or 0, there.committed, known, stretch=there.stretch)

    def poll(self, count: int = 1_000) -> None:
        """Hands over what may be read, as one chunk, with the positions behind it."""
        chunk: dict[TopicPartition, Sequence[Record]] = {}
        for each, position in self.positions.items():
            there = self.partitions[each]
            if each in self.paused:
                continue
            place = bisect_left(there.log, position, key=lambda record: record.offset)
            records = there.log[place : place + count]
            if records:
                chunk[each] = records
            rest = place + count < len(there.log)
            self.positions[each] = records[-1].next_offset if rest else max(there.end, position)
        self.pipeline.received(chunk, dict(self.positions), self.now)

    def revoke(self, chosen: Iterable[TopicPartition], *, lost: bool = False, landing: str = "ok") -> None:
        """As the loop does it: what waits is taken back, the transaction in the air ends, what is settled is committed.

        `landing` is what becomes of both transactions: "ok", "fails", or "stays" in the air until the time is over. Who
        has lost a lane is no member any more: the broker refuses the transaction in the air.
        """
        chosen = list(chosen)
        self._take_back(lambda request: request.batch.tp in chosen)
        if lost:
            self.fenced = True
        elif landing != "stays":
            self.land(ok=landing == "ok")
            self._begin(self.pipeline.last_commit(chosen))
            self.land(ok=landing == "ok")
        elif self.commit is None:
            self._begin(self.pipeline.last_commit(chosen))
        self.pipeline.revoked(chosen)
        for each in chosen:
            self.positions.pop(each, None)
            self.paused.discard(each)

    def die(self, *, taken: bool, landed: bool) -> None:
        """SIGKILL, and a new process that owns nothing yet.

        Whether the API has taken what was on the wire, and the broker the transaction in the air, nobody has heard.
        """
        if taken:
            for request in self.wire:
                self.taken.update(ids(request.batch))
        if self.commit is not None and landed and not self.fenced:
            self._store(self.commit)
        self.pipeline = pipeline(self.limits, self.chosen)
        for here in (self.positions, self.paused, self.queued, self.wire, self.wanted, self.taken_under):
            here.clear()
        self.commit, self.fenced, self.held, self.shut = None, False, (), False

    # what the worker does

    def tick(self) -> list[Command]:
        commands = self.pipeline.ticked(self.now)
        for command in commands:
            match command:
                case Deliver():
                    self._deliver(command)
                case Hold(reasons):
                    self.held, self.shut = reasons, True
                    self._take_back(lambda request: not request.probe)
                case Release():
                    self.held, self.shut = (), False
                case Commit():
                    self._begin(command)
                case Pause(chosen):
                    assert not self.paused & set(chosen)
                    self.paused |= set(chosen)
                case Resume(chosen):
                    assert self.paused >= set(chosen)
                    self.paused -= set(chosen)
                case FetchSchema():
                    self.wanted.append(command)
        return commands

    def _deliver(self, command: Deliver) -> None:
        batch = command.batch
        body = batch.body(SENT_AT)
        assert len(body) == batch.size < self.limits.batch_max_bytes
        assert 0 < len(batch.items) <= self.limits.batch_max_events
        assert batch.tp in self.positions, "a batch of a lane that was given away"
        assert command.probe == bool(self.held), "while held, probes and nothing else"
        busy = [*self.queued, *self.wire]
        assert not any(request.batch.number == batch.number for request in busy), "the same batch twice"
        assert not (command.probe and any(request.probe for request in busy)), "two probes at once"
        for item in batch.items:
            first = self.sent.setdefault((batch.tp, item.record.offset), item)
            assert (item.message_id, item.payload) == (first.message_id, first.payload), "read again, made differently"
        delay = min(2.0 ** min(command.retry - 1, 10), BACKOFF_MAX_SECONDS) if command.retry else 0.0
        self.queued.append(Request(batch, self.now + delay, command.probe))
        in_flight = sum(request.batch.tp == batch.tp and request.batch.epoch == batch.epoch for request in busy) + 1
        assert in_flight <= self.limits.in_flight

    def _take_back(self, unwanted: Callable[[Request], bool]) -> None:
        back = [request for request in self.queued if unwanted(request)]
        self.queued = [request for request in self.queued if not unwanted(request)]
        self.pipeline.withdrawn([request.batch for request in back], self.now)

    def startable(self) -> list[Request]:
        return [request for request in self.queued if self.now >= request.due_at and (request.probe or not self.shut)]

    def start(self, request: Request) -> None:
        self.queued.remove(request)
        request.started_at = self.now
        self.wire.append(request)

    def come_home(self, request: Request, status: int | None) -> Answer:
        """The answer reaches the sender, which shuts itself at once, and then the pipeline."""
        self.wire.remove(request)
        request.status = status
        self.answered.append(request)
        came = answer(status, self.now, started_at=request.started_at)
        if came.verdict in (Verdict.FORBIDDEN, Verdict.WRONG_ADDRESS):
            self.shut = True
        if came.verdict is Verdict.TAKEN:
            self.taken.update(ids(request.batch))
            self.taken_under |= {(request.batch.epoch, message_id) for message_id in ids(request.batch)}
        self.pipeline.answered(request.batch, came, self.now)
        return came

    def come_home_all(self, status: int | None) -> None:
        """Everything that may start does, and gets this answer."""
        for request in self.startable():
            self.start(request)
        for request in list(self.wire):
            self.come_home(request, status)

    def _begin(self, commit: Commit | None) -> None:
        if commit is not None:
            assert self.commit is None, "two transactions in the air"
            self.commit, self.fenced = commit, False
            for share in commit.lanes:
                self._check(share)

    def _check(self, share: LaneCommit) -> None:
        """Every offset below a commit has exactly one outcome, and commits only rise."""
        assert share.tp in self.positions, "a commit for a lane that was given away"
        there = self.partitions[share.tp]
        first = there.committed or 0
        assert share.next_offset > first or there.committed is None, "a commit that does not rise"
        assert there.stretch is None or share.next_offset <= there.stretch.end_offset, "a commit past the end"
        covered = {record.offset for record in there.log if first <= record.offset < share.next_offset}
        assert sum(share.outcomes.values()) == len(covered)
        dead = [letter.record.offset for letter in share.dead_letters]
        assert (
            len(dead)
            == len(set(dead))
            == sum(number for (outcome, _), number in share.outcomes.items() if outcome is Outcome.DEAD_LETTERED)
        )
        assert set(dead) <= covered
        assert not any((share.epoch, f"evt_{share.tp.partition}_{offset}") in self.taken_under for offset in dead)
        delivered = share.outcomes[Outcome.DELIVERED, Reason.DELIVERED]
        assert delivered == sum(share.delivered.values())
        could_be = sum(f"evt_{share.tp.partition}_{offset}" in self.taken for offset in covered - set(dead))
        assert delivered <= could_be, "committed as delivered, but the API never took it"
        changed = [change.offset for change in share.changes]
        assert changed == sorted(changed)
        assert set(changed) <= covered, "an identity runs ahead of its offset"

    def land(self, *, ok: bool = True, refusal: HoldReason | None = None) -> None:
        """The transaction in the air ends, if there is one."""
        commit, self.commit = self.commit, None
        ok, self.fenced = ok and not self.fenced, False
        if commit is None:
            return
        if not ok:
            self.pipeline.commit_failed(commit, refusal, "", self.now)
            return
        self._store(commit)
        self.pipeline.committed(commit, self.now)

    def _store(self, commit: Commit) -> None:
        self.commits.append((self.now, commit))
        for share in commit.lanes:
            there = self.partitions[share.tp]
            there.committed, there.stretch = share.next_offset, share.stretch
            there.dead.update({letter.record.offset: letter for letter in share.dead_letters})
            there.outcomes.update(share.outcomes)
            there.identities.update({change.visitor: change.state or b"" for change in share.changes})
            there.identities = {visitor: state for visitor, state in there.identities.items() if state}

    def turn(self, api: Api, seconds: float = 0.1) -> None:
        """One turn in which everything that may start is answered at once and every transaction goes through."""
        self.now += seconds
        self.poll()
        self.tick()
        for _ in range(len(self.queued)):
            ready = self.startable()
            if not ready:
                break
            self.start(ready[0])
            self.come_home(ready[0], api(ready[0].batch, self.now))
        self.land()

    def run(self, api: Api, *, seconds: float, step: float = 0.25) -> "Simulator":
        """Turns for so long: `step` apart while there is something to do, up to ten seconds where there is nothing."""
        until, pause = self.now + seconds, step
        while self.now < until:
            requests = len(self.answered)
            self.turn(api, min(pause, until - self.now))
            pause = step if len(self.answered) > requests else min(2 * pause, max(step, 10.0))
        return self

    # what came of it

    def requests(self) -> list[tuple[float, bool, int | None]]:
        """When each request started, whether it was a probe, and what was answered."""
        return [(request.started_at, request.probe, request.status) for request in self.answered]

    def dead_ids(self) -> dict[str, Reason]:
        return {
            f"evt_{each.partition}_{offset}": letter.reason
            for each, there in self.partitions.items()
            for offset, letter in there.dead.items()
        }

    def lag(self) -> int:
        return sum(
            (there.end if there.stretch is None else min(there.end, there.stretch.end_offset)) - (there.committed or 0)
            for there in self.partitions.values()
        )

    def outcomes(self) -> Counter[tuple[Outcome, Reason]]:
        return sum((there.outcomes for there in self.partitions.values()), Counter())


def good(_batch: Batch, _now: float) -> int:
    return 200


def always(status: int | None) -> Api:
    return lambda _batch, _now: status


def refusing(poison: Iterable[str], status: int | None) -> Api:
    """An API that answers any batch with one of these ids in it with `status`, and takes the rest."""
    unwanted = set(poison)
    return lambda batch, _now: status if unwanted & set(ids(batch)) else 200
