"""What is known of the visitors of one partition (contract, "Identity").

One `Identities` belongs to one lane and is asked in offset order: what offset n teaches is known at n+1 and never
before. Memory is one JSON text a visitor rather than objects, because there may be a million of them; the same text is
what the identity log keeps.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

# A visitor's whole state, as JSON. A trait that would pass it is not learned: the log's records stay small whatever a
# site puts into traits.
MAX_STATE_BYTES = 32 * 1024

Traits = dict[str, object]


class State(msgspec.Struct, array_like=True):
    """What an `identify` left behind.

    `identified_at_ms` is UTC epoch milliseconds; `traits` hold no nulls at the top.
    """

    user_id: str | None
    identified_at_ms: int
    traits: Traits


class IdentityChange(NamedTuple):
    """A visitor's state after the record at `offset`; None where the visitor was forgotten."""

    offset: int
    visitor: str
    state: bytes | None

    @property
    def size(self) -> int:
        """Bytes of key and value in the identity log."""
        return len(self.visitor) + len(self.state or b"")


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(State).decode


def visitor_of(anonymous_id: str | None, user_id: str | None) -> str | None:
    """The key of a visitor: `a:<anonymousId>`, or `u:<userId>` where there is none. Two name spaces, never mixed."""
    if anonymous_id:
        return "a:" + anonymous_id
    return "u:" + user_id if user_id else None


class Identities:
    """The visitors of one partition. `changes` gathers what has changed until the lane takes it into a span."""

    def __init__(self, ttl_ms: int, known: Mapping[str, bytes] | None = None) -> None:
        self._ttl_ms = ttl_ms
        self._known: dict[str, bytes] = dict(known or {})
        self.changes: list[IdentityChange] = []
        self.traits_refused = 0

    def __len__(self) -> int:
        return len(self._known)

    def learn(self, visitor: str, user_id: str | None, traits: Traits, *, at_ms: int, offset: int) -> None:
        """Merges an `identify`: newer wins, null removes, another userId replaces everything known.

        No trait of the former user survives the latter: a shared browser must not leak A's email onto B's events.
        """
        before = self._known.get(visitor)
        state = _decode(before) if before else State(None, at_ms, {})
        if state.user_id and user_id and state.user_id != user_id:
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
        self.changes.append(IdentityChange(offset, visitor, after))

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
            self.changes.append(IdentityChange(offset, visitor, None))

    def traits_for(self, visitor: str, user_id: str | None, *, at_ms: int, offset: int) -> Traits:
        """The traits that may ride on an event of this visitor and user at this time; empty where nothing is known, or
        of somebody else.

        A state older than the time-to-live, by event time, is forgotten on the way.
        """
        known = self._known.get(visitor)
        if known is None:
            return {}
        state = _decode(known)
        if at_ms - state.identified_at_ms > self._ttl_ms:
            self.forget(visitor, offset=offset)
            return {}
        if user_id and state.user_id and user_id != state.user_id:
            return {}
        return state.traits
