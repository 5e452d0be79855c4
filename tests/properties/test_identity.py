"""What is known of each visitor at each offset: a model from the contract's words against the pipeline and its log.

The pipeline is killed before and after commits, moved, moved back, and its log compacted; the same offset must give the
same traits whenever it is read.
"""

import json
from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import (
    GRANTED,
    SCHEMA,
    TIME_MS,
    TP,
    TTL_MS,
    answer,
    event,
    pipeline,
    policy,
    record,
    signal,
)
from worker.core.batching import Item
from worker.core.commands import Commit, Deliver
from worker.core.decisions import Decider
from worker.core.identity import Identities
from worker.core.lanes import Limits
from worker.core.records import Record
from worker.core.restoring import Entry, Restoration

LIMITS = Limits(batch_max_events=3, linger_seconds=0.0)
CONSENTS = {"granted": GRANTED, "missing": {"analytics": True}, "denied": {"analytics": True, "marketing": False}}
TRAITS = ("email", "name", "company")

happenings = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["identify", "identify", "track", "track", "track", "page", "group"]),
        "anonymousId": st.sampled_from(["x", "x", "x", "x", "y", None]),
        "userId": st.sampled_from([None, None, None, "x", "u2"]),
        "traits": st.dictionaries(
            st.sampled_from(["email", "name", "phone"]), st.sampled_from(["1", "2", None]), max_size=2
        ),
        "consent": st.sampled_from(["granted"] * 8 + ["missing", "denied"]),
        "days": st.sampled_from([0] * 9 + [500]),
    }
)
lives = st.lists(
    st.tuples(
        st.integers(1, 6),  # records read
        st.integers(0, 8),  # commits that land before the process is gone
        st.integers(0, 8),  # afterwards: how far the group is moved back, or whether the log is compacted
    ),
    min_size=2,
    max_size=8,
)


def records_of(seen: list[dict[str, Any]]) -> list[Record]:
    days = 0
    records: list[Record] = []
    for offset, each in enumerate(seen):
        days += each["days"]
        fields = {
            **each,
            "event": "Lead Generated" if each["type"] == "track" else None,
            "timestamp": TIME_MS + days * 86_400_000,
            "context": {"consent": CONSENTS[each["consent"]]},
        }
        records.append(signal(offset, **fields))
    return records


@dataclass
class Model:
    """The contract's section "Identity", sentence by sentence."""

    known: dict[str, tuple[str | None, int, dict[str, str]]] = field(default_factory=dict)
    days: int = 0

    def traits(self, happened: dict[str, Any]) -> dict[str, str] | None:
        """What the event is sent with; None where it is not sent."""
        self.days += happened["days"]
        anonymous, user = happened["anonymousId"], happened["userId"]
        visitor = f"a:{anonymous}" if anonymous else f"u:{user}" if user else ""
        if happened["consent"] != "granted":
            if happened["consent"] == "denied":
                self.known.pop(visitor, None)
            return None
        own = {name: value for name, value in happened["traits"].items() if name in TRAITS}
        if happened["type"] == "identify":
            self._learn(visitor, user, own)
        if happened["type"] in ("identify", "group") or not visitor:
            return None
        return {**self._riding(visitor, user), **{name: value for name, value in own.items() if value is not None}}

    def _learn(self, visitor: str, user: str | None, own: dict[str, Any]) -> None:
        if not visitor:
            return
        known_user, learned, traits = self.known.get(visitor, (None, self.days, {}))
        if self.days - learned > TTL_MS / 86_400_000 or (known_user and user and known_user != user):
            known_user, traits = None, {}
        merged = {**traits, **own}
        kept = {name: value for name, value in merged.items() if value is not None}
        if known_user or user or kept:
            self.known[visitor] = (user or known_user, self.days, kept)
        else:
            self.known.pop(visitor, None)

    def _riding(self, visitor: str, user: str | None) -> dict[str, str]:
        known_user, learned, traits = self.known.get(visitor, (None, 0, {}))
        if self.days - learned > TTL_MS / 86_400_000:
            self.known.pop(visitor, None)
            return {}
        return {} if user and known_user and user != known_user else traits


class Partition:
    """A source partition, its identity log, and whoever reads it at the moment."""

    def __init__(self, records: list[Record]) -> None:
        self.records = records
        self.committed = 0
        self.log: list[Entry] = []
        self.sent: list[tuple[str, dict[str, str]]] = []

    def live(self, reads: int, commits: int) -> None:
        """One owner's life: it restores, reads so many records, and is gone after so many commits."""
        start = self.committed
        restoration = Restoration(start, "topic-id")
        for entry in self.log:
            restoration.take(entry)
        made = pipeline(LIMITS)
        made.assigned([TP])
        made.restored(TP, start, start, restoration.known, "topic-id")
        now = 0.0
        for each in self.records[start : start + reads]:
            made.received({TP: [each]}, {}, now)
            while commands := [each for each in made.ticked(now) if isinstance(each, Deliver | Commit)]:
                for command in commands:
                    if isinstance(command, Deliver):
                        self._send(command)
                        made.answered(command.batch, answer(200, now), now)
                    elif commits == 0:
                        return
                    else:
                        commits -= 1
                        self._land(command)
                        made.committed(command, now)
                now += 1.0

    def _send(self, delivery: Deliver) -> None:
        for item in delivery.batch.items:
            self.sent.append((item.message_id, json.loads(item.payload).get("traits", {})))

    def _land(self, commit: Commit) -> None:
        for share in commit.lanes:
            self.committed = share.next_offset
            self.log += [
                Entry(change.visitor, change.state, change.offset, share.topic_id, change.forgotten_until)
                for change in share.changes
            ]

    def compact(self) -> None:
        last = {entry.visitor: number for number, entry in enumerate(self.log)}
        self.log = [entry for number, entry in enumerate(self.log) if last[entry.visitor] == number]


def expected(seen: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    model = Model()
    found = {f"evt_{offset}": model.traits(happened) for offset, happened in enumerate(seen)}
    return {message_id: traits for message_id, traits in found.items() if traits is not None}


def assert_as_expected(partition: Partition, seen: list[dict[str, Any]]) -> None:
    wanted = expected(seen)
    assert [pair for pair in partition.sent if wanted[pair[0]] != pair[1]] == []
    assert {message_id for message_id, _ in partition.sent} == wanted.keys()


@given(seen=st.lists(happenings, min_size=4, max_size=24), lives=lives)
def test_whoever_reads_an_offset_after_whatever_kills_knows_the_same_visitors(
    seen: list[dict[str, Any]], lives: list[tuple[int, int, int]]
) -> None:
    partition = Partition(records_of(seen))
    for reads, commits, chance in lives:
        partition.live(reads, commits)
        if chance % 2:
            partition.compact()
    partition.live(len(seen), len(seen))

    assert_as_expected(partition, seen)


@given(seen=st.lists(happenings, min_size=4, max_size=24), lives=lives)
def test_a_group_that_is_moved_back_knows_what_it_knew_there(
    seen: list[dict[str, Any]], lives: list[tuple[int, int, int]]
) -> None:
    partition = Partition(records_of(seen))
    for reads, commits, back in lives:
        partition.live(reads, commits)
        partition.committed = max(0, partition.committed - back)
    partition.live(len(seen), len(seen))

    assert_as_expected(partition, seen)


def value(number: int) -> object:
    return [None, number, f"é{number}", {"in": [number, None]}][number % 4]


@given(
    wanted=st.sampled_from([("email", "name"), ("name", "phone", "email"), None]),
    seen=st.lists(
        st.tuples(
            st.sampled_from(["identify", "track", "track"]),
            st.dictionaries(st.sampled_from(["email", "name", "phone"]), st.integers(0, 9).map(value), max_size=3),
        ),
        max_size=20,
    ),
)
def test_what_rides_is_the_state_s_and_the_event_s_own_traits_in_the_order_of_the_settings(
    wanted: tuple[str, ...] | None, seen: list[tuple[str, dict[str, object]]]
) -> None:
    """To the byte, however often it has ridden already."""
    decider, identities = Decider(policy(traits=wanted)), Identities(TTL_MS)
    state: dict[str, object] = {}
    for offset, (kind, own) in enumerate(seen):
        sent = event(type=kind, event=None if kind == "identify" else "Lead Generated", traits=own)
        decision = decider.decide(TP, record(offset), sent, identities, schema=SCHEMA, now=0.0)
        chosen = {name: own[name] for name in wanted or own if name in own}
        if kind == "identify":
            for name, each in chosen.items():
                state.pop(name, None)
                state |= {} if each is None else {name: each}
            continue
        riding = {**state, **{name: each for name, each in chosen.items() if each is not None}}
        riding = {name: riding[name] for name in wanted or riding if name in riding}
        assert isinstance(decision, Item)
        assert decision.identified is bool(riding)
        expected = b',"traits":%b}' % msgspec.json.encode(riding) if riding else b'.000Z"}'
        assert decision.payload.endswith(expected)
