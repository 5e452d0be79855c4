"""Valid defaults for everything the core takes, and for the tap: a test names only what matters. Starts nothing, and
judges nothing.

Records made here carry JSON behind a Confluent prefix, and `PLAN` reads it: the way of an event without the cost of
Avro.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from worker.core.batching import Batch, Item, Span, SpanState
from worker.core.consent import Consent
from worker.core.decisions import Decider, Policy, TraitsPlacement
from worker.core.decoding import Event, SchemaRef, json_plan
from worker.core.identity import Identities, State
from worker.core.lanes import Lane, Limits
from worker.core.mapping import EventMapping
from worker.core.outcomes import Answer, DeadLetter, Reason, Stage
from worker.core.pipeline import Pipeline
from worker.core.records import Headers, Record, TopicPartition
from worker.tap.recorder import Tap

TP = TopicPartition("delivery-dreamdata", 0)
SCHEMA = SchemaRef.of_id(7)
TIME_MS = 1_780_744_274_000  # 2026-06-06T11:11:14.000Z, the contract's example
TTL_MS = 400 * 86_400_000
GRANTED = {"analytics": True, "marketing": True}


def tp(partition: int) -> TopicPartition:
    return TopicPartition(TP.topic, partition)


PLAN = json_plan()


def record(
    offset: int = 0,
    value: bytes | None = b"",
    *,
    key: bytes | None = None,
    headers: Headers = (),
    timestamp_ms: int = TIME_MS,
) -> Record:
    return Record(offset, timestamp_ms, key, value, headers)


def framed(body: bytes, schema: SchemaRef = SCHEMA) -> bytes:
    return b"\x00" + schema.raw + body


def signal(offset: int = 0, /, schema: SchemaRef = SCHEMA, **fields: object) -> Record:
    """A record with a Signal event that will be sent; `fields` have Signal's names, and None takes one away."""
    datum = {
        "type": "track",
        "event": "Lead Generated",
        "messageId": f"evt_{offset}",
        "anonymousId": "df_8f2a1c9e",
        "timestamp": TIME_MS,
        "context": {"consent": GRANTED},
        **fields,
    }
    return record(offset, framed(msgspec.json.encode(datum), schema), key=b"df_8f2a1c9e")


def signals(offsets: range, partition: int = 0) -> list[Record]:
    """Events that will be sent, each with an id of its own in the whole topic: `evt_<partition>_<offset>`."""
    return [signal(offset, messageId=f"evt_{partition}_{offset}") for offset in offsets]


def identify(offset: int = 0, /, **fields: Any) -> Record:
    return signal(offset, **{"type": "identify", "event": None, **fields})


def without_consent(offset: int = 0) -> Record:
    return signal(offset, context={})


def undecodable(offset: int = 0) -> Record:
    return record(offset, b"not Avro")


def event(**fields: Any) -> Event:
    """A decoded event that will be sent; `fields` have the names of `Event`."""
    valid: dict[str, Any] = {
        "type": "track",
        "event": "Lead Generated",
        "message_id": "evt_6f47f5a0",
        "anonymous_id": "df_8f2a1c9e",
        "timestamp_ms": TIME_MS,
        "consent": GRANTED,
    }
    return Event(**valid | fields)


def policy(
    *,
    consent: tuple[str, ...] = ("analytics", "marketing"),
    variant: str = "b2b_saas",
    mapping: Mapping[str, str | bool] | None = None,
    forward_unmapped: bool = False,
    traits: tuple[str, ...] | None = ("email", "name", "company"),
    placement: TraitsPlacement = TraitsPlacement.TOP_LEVEL,
    forward_identify: bool = False,
    event_max_bytes: int | None = None,
    batch_max_bytes: int = 500_000,
) -> Policy:
    return Policy(
        consent=Consent(consent),
        mapping=EventMapping(variant, mapping, forward_unmapped=forward_unmapped),
        traits=traits,
        placement=placement,
        forward_identify=forward_identify,
        event_max_bytes=event_max_bytes,
        batch_max_bytes=batch_max_bytes,
    )


def pipeline(limits: Limits | None = None, chosen: Policy | None = None) -> Pipeline:
    """A pipeline that knows `SCHEMA` already."""
    limits = limits or Limits()
    made = Pipeline(Decider(chosen or policy(batch_max_bytes=limits.batch_max_bytes)), limits, identity_ttl_ms=TTL_MS)
    made.intake.known(SCHEMA, PLAN)
    return made


def lane(limits: Limits | None = None, *, epoch: int = 1, committed: int | None = 0) -> Lane:
    made = Lane(TP, epoch, limits or Limits(), Identities(TTL_MS))
    made.restored, made.position, made.committed = True, committed or 0, committed
    return made


def item(offset: int = 0, payload_bytes: int = 100) -> Item:
    payload = b'"' + b"x" * (payload_bytes - 2) + b'"'
    return Item(record(offset), payload, f"evt_{offset}", "lead_generated", False, SCHEMA)


def dead_letter(offset: int = 0, value: bytes = b"not Avro", *, reason: Reason = Reason.UNDECODABLE) -> DeadLetter:
    return DeadLetter(record(offset, value), reason, Stage.DECODE, "made up", 0.0)


def span(*items: Item, state: SpanState = SpanState.SEALED) -> Span:
    made = Span(items[0].record.offset if items else 0, 0.0)
    for each in items:
        made.add(each)
    made.state = state
    return made


def batch(*items: Item, number: int = 1, epoch: int = 1) -> Batch:
    covering = span(*(items or (item(),)))
    return Batch(number, TP, epoch, covering.first_offset, covering.next_offset, tuple(covering.items), covering.size)


def answer(status: int | None = 200, at: float = 0.0, *, body: str = "", started_at: float | None = None) -> Answer:
    failure = "" if status is not None else "timeout"
    return Answer(status, at if started_at is None else started_at, at, body, failure=failure)


def tap(clock: Callable[[], float] = lambda: 0.0) -> Tap:
    """Nobody watches it. Its moments are all at `TIME_MS`."""
    return Tap(EventMapping("b2b_saas"), clock, lambda: TIME_MS / 1000)


def known(identities: Identities, visitor: str) -> State | None:
    """What is remembered of a visitor, read from the last change."""
    states = [change.state for change in identities.changes if change.visitor == visitor]
    return msgspec.json.decode(states[-1], type=State) if states and states[-1] is not None else None
