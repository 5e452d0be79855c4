"""What is known of the visitors of one partition (contract, "Identity").

One `Identities` belongs to one lane and is asked in offset order: what offset n teaches is known at n+1 and never
before. Memory is one JSON text a visitor rather than objects, because there may be a million of them; the same text is
what the identity log keeps, and what rides on an event is cut out of it.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

# A visitor's whole state, as JSON. A trait that would pass it is not learned: the log's records stay small whatever a
# site puts into traits.
MAX_STATE_BYTES = 32 * 1024

# The key of the log's records. Nobody's id is as long; but a record that the log refuses would hold its partition.
MAX_VISITOR_CHARACTERS = 32 * 1024

# What a state in memory begins with once its traits are, byte for byte, what rides on an event. To JSON it is nothing;
# in the log it has no place, because the next process may choose others.
_READY = b" "

Traits = dict[str, object]


class State(msgspec.Struct, array_like=True, gc=False):
    """What an `identify` left behind.

    `identified_at_ms` is UTC epoch milliseconds; `traits` hold no nulls at the top.
    """

    user_id: str | None
    identified_at_ms: int
    traits: Traits


class _Riding(msgspec.Struct, array_like=True, gc=False):
    """A State with its traits as the JSON they are: objects would be made only to be written again."""

    user_id: str | None
    identified_at_ms: int
    traits: msgspec.Raw


class IdentityChange(NamedTuple):
    """A visitor's state after the record at `offset`; None where the visitor was forgotten.

    `forgotten_until` is the source offset below which an operator had this visitor forgotten; 0 where nobody has.
    """

    offset: int
    visitor: str
    state: bytes | None
    forgotten_until: int = 0

    @property
    def size(self) -> int:
        """Bytes of key and value in the identity log."""
        return len(self.visitor) + len(self.state or b"")


class Known(NamedTuple):
    """What is known of one partition's visitors as of an offset: states, and up to where operators had them forgotten.

    Whoever takes it owns both.
    """

    states: dict[str, bytes]
    forgotten_until: dict[str, int]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(State).decode
_decode_riding = msgspec.json.Decoder(_Riding).decode


def visitor_of(anonymous_id: str | None, user_id: str | None) -> str | None:
    """The key of a visitor: `a:<anonymousId>`, or `u:<userId>` where there is none. Two name spaces, never mixed."""
    if anonymous_id:
        return "a:" + anonymous_id
    return "u:" + user_id if user_id else None


def is_state(state: bytes) -> bool:
    """Whether these bytes are a visitor's state, as `learn` writes it."""
    try:
        _decode(state)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return not state.startswith(_READY)


class Identities:
    """The visitors of one partition. `changes` gathers what has changed until the lane takes it into a span.

    `traits_refused` counts traits that were not learned because of their size, until the lane takes it as well.
    """

    def __init__(self, ttl_ms: int, known: Known | None = None) -> None:
        self._ttl_ms = ttl_ms
        self._known, self._forgotten_until = known or Known({}, {})
        self._by_hand: list[str] = []
        self.changes: list[IdentityChange] = []
        self.traits_refused = 0

    def __len__(self) -> int:
        return len(self._known)

    @property
    def states(self) -> Mapping[str, bytes]:
        """What is known now, by visitor."""
        return self._known

    def learn(self, visitor: str, user_id: str | None, traits: Traits, *, at_ms: int, offset: int) -> None:
        """Merges an `identify`: newer wins, null removes, another userId replaces everything known.

        No trait of the former user survives the latter: a shared browser must not leak A's email onto B's events.
        An operator's word outlives what lay in the topic when it was given: nothing from before it is learned.
        """
        if offset < self._forgotten_until.get(visitor, 0):
            return
        if len(visitor) > MAX_VISITOR_CHARACTERS:
            self.traits_refused += len(traits)
            return
        before = self._known.get(visitor)
        state = _decode(before) if before else State(None, at_ms, {})
        expired = at_ms - state.identified_at_ms > self._ttl_ms
        if expired or (state.user_id and user_id and state.user_id != user_id):
            state = State(None, at_ms, {})
        state.user_id = user_id or state.user_id
        state.identified_at_ms = at_ms
        for name, value in traits.items():
            before_it = state.traits.pop(name, None)
            if value is not None and not self._add(state, name, value) and before_it is not None:
                state.traits[name] = before_it
        after = _encode(state)
        if len(after) > MAX_STATE_BYTES or not (state.user_id or state.traits):
            self.forget(visitor, offset=offset)
            return
        self._known[visitor] = after
        self._change(offset, visitor, after)

    def _change(self, offset: int, visitor: str, state: bytes | None) -> None:
        self.changes.append(IdentityChange(offset, visitor, state, self._forgotten_until.get(visitor, 0)))

    def _add(self, state: State, name: str, value: object) -> bool:
        """Whether the trait is learned; one that would make the state too large is not, and what was known stays."""
        state.traits[name] = value
        if len(_encode(state)) > MAX_STATE_BYTES:
            del state.traits[name]
            self.traits_refused += 1
            return False
        return True

    def forget(self, visitor: str, *, offset: int) -> None:
        if self._known.pop(visitor, None) is not None:
            self._change(offset, visitor, None)

    def forget_by_hand(self, visitor: str, *, until: int) -> None:
        """An operator wants this visitor forgotten, with all that lies below the source offset `until`.

        At once; the answer in the identity log goes with the next record's changes. Said again it changes nothing.
        """
        if until > self._forgotten_until.get(visitor, 0):
            self._forgotten_until[visitor] = until
            self._known.pop(visitor, None)
            self._by_hand.append(visitor)

    @property
    def changed(self) -> bool:
        return bool(self.changes or self._by_hand)

    def take_changes(self, offset: int) -> list[IdentityChange]:
        """What has changed since it was taken last, in offset order, with the record at `offset`."""
        for visitor in self._by_hand:
            known = self._known.get(visitor)
            self._change(offset, visitor, known and known.removeprefix(_READY))
        changes, self.changes, self._by_hand = self.changes, [], []
        return changes

    def traits_for(
        self, visitor: str, user_id: str | None, chosen: Callable[[Traits], Traits], *, at_ms: int, offset: int
    ) -> msgspec.Raw | None:
        """The `chosen` of the traits that may ride on an event of this visitor and user at this time, as JSON; None
        where nothing is known, or of somebody else. `chosen` is the same at every call: what it makes of a state is
        kept.

        A state older than the time-to-live, by event time, is forgotten on the way.
        """
        known = self._known.get(visitor)
        if known is None:
            return None
        state = _decode_riding(known)
        if at_ms - state.identified_at_ms > self._ttl_ms:
            self.forget(visitor, offset=offset)
            return None
        if user_id and state.user_id and user_id != state.user_id:
            return None
        return state.traits if known.startswith(_READY) else self._make_ready(visitor, known, chosen)

    def _make_ready(self, visitor: str, known: bytes, chosen: Callable[[Traits], Traits]) -> msgspec.Raw | None:
        state = _decode(known)
        traits = chosen(state.traits)
        if not traits:
            return None
        # where more was learned than is chosen now, the rest is not to be forgotten
        if len(traits) == len(state.traits):
            state.traits = traits
            self._known[visitor] = _READY + _encode(state)
        return msgspec.Raw(_encode(traits))


class Remembered(Identities):
    """Visitors as they are known, to be asked and not taught: what an old event says was said too late."""

    def learn(self, visitor: str, user_id: str | None, traits: Traits, *, at_ms: int, offset: int) -> None:
        """Learns nothing."""

    def forget(self, visitor: str, *, offset: int) -> None:
        """Forgets nobody."""
