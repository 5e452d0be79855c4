"""What becomes of one decoded event: the order of decisions of DESIGN §1, in one place.

consent → type, track name → identity → mapping → ids, timestamp, messageId, size. Whatever the API is known to refuse
or to drop silently is refused here, before it is sent.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from worker.core.batching import Item, largest_payload_bytes
from worker.core.consent import Consent
from worker.core.decoding import Event, SchemaRef
from worker.core.identity import Identities, Traits, visitor_of
from worker.core.lanes import Decision
from worker.core.mapping import IDENTIFY, PAGE, EventMapping, Selection
from worker.core.outcomes import DeadLetter, Reason, Stage
from worker.core.payloads import (
    MAX_MESSAGE_ID_CHARACTERS,
    NotJsonError,
    Payload,
    Timestamps,
    derived_message_id,
    encode,
)
from worker.core.records import Record, TopicPartition

TYPES = frozenset({"page", "track", "identify", "group"})
OTHER = "other"


class TraitsPlacement(StrEnum):
    TOP_LEVEL = "top_level"
    CONTEXT = "context"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the integration wants sent, and how. `traits` None: all of them; `selection` None: all that is mapped."""

    consent: Consent
    mapping: EventMapping
    traits: tuple[str, ...] | None = ("email", "name", "company")
    placement: TraitsPlacement = TraitsPlacement.TOP_LEVEL
    forward_identify: bool = False
    event_max_bytes: int | None = None
    batch_max_bytes: int = 500_000
    selection: Selection | None = None


class _RefusedError(Exception):
    """Reject: this event is a dead letter, for this reason."""

    def __init__(self, reason: Reason, stage: Stage, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.stage = stage


class Decider:
    """Decides events one by one, in the order of their offsets; the only memory it touches is the lane's identities."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._judge_consent = policy.consent.judge
        self._timestamps = Timestamps()
        self._largest_bytes = largest_payload_bytes(policy.batch_max_bytes)
        if policy.event_max_bytes is not None:
            self._largest_bytes = min(self._largest_bytes, policy.event_max_bytes)
        self._labels = policy.mapping.targets | {"page", "identify"}

    def decide(
        self, tp: TopicPartition, record: Record, event: Event, identities: Identities, *, schema: SchemaRef, now: float
    ) -> Decision:
        """An item to send, a reason to filter it, or a dead letter."""
        try:
            return self._decide(tp, record, event, identities, schema)
        except _RefusedError as refused:
            return DeadLetter(record, refused.reason, refused.stage, str(refused), now, schema)

    def remember(self, record: Record, event: Event, identities: Identities) -> Reason | None:
        """What this event teaches of its visitor, as `decide` would have it learned, and nothing else of it.

        Returns why it may not be used; None where it may.
        """
        visitor = visitor_of(event.anonymous_id, event.user_id)
        without_consent = self._without_consent(record, event, visitor, identities)
        if without_consent is None and event.type == IDENTIFY:
            with suppress(_RefusedError):
                self._learn(record, event, visitor, identities)
        return without_consent

    def _without_consent(
        self, record: Record, event: Event, visitor: str | None, identities: Identities
    ) -> Reason | None:
        without_consent = self._judge_consent(event.consent)
        if without_consent is Reason.CONSENT_DENIED and visitor:
            identities.forget(visitor, offset=record.offset)
        return without_consent

    def _decide(
        self, tp: TopicPartition, record: Record, event: Event, identities: Identities, schema: SchemaRef
    ) -> Item | Reason:
        selection = self._policy.selection
        if selection is not None and not selection.takes(event.type, event.event):
            return self.remember(record, event, identities) or Reason.NOT_SELECTED
        visitor = visitor_of(event.anonymous_id, event.user_id)
        without_consent = self._without_consent(record, event, visitor, identities)
        if without_consent:
            return without_consent
        if event.type not in TYPES:
            # without the type itself: where a producer has mixed up its fields it may be anybody's name
            raise _invalid("a type other than page, track, identify and group" if event.type else "no type")
        if event.type == "track" and not (event.event and event.event.strip()):
            raise _invalid("a track without an event name")
        if event.type == IDENTIFY:
            self._learn(record, event, visitor, identities)
        name = self._name(event)
        if isinstance(name, Reason):
            if visitor is None and name is Reason.ABSORBED:
                raise _invalid("neither anonymousId nor userId")
            return name
        return self._item(tp, record, event, name, visitor, identities, schema)

    def _learn(self, record: Record, event: Event, visitor: str | None, identities: Identities) -> None:
        if visitor is None:
            raise _invalid("neither anonymousId nor userId")
        if event.malformed == "traits":
            raise _invalid("traits are a string that holds no JSON object")
        traits = self._chosen(event.traits or {})
        try:
            encode(traits, traits)
        except NotJsonError as error:
            raise _invalid(f"{error} in the traits") from None
        at_ms = record.timestamp_ms if event.timestamp_ms is None else event.timestamp_ms
        identities.learn(visitor, event.user_id, traits, at_ms=at_ms, offset=record.offset)

    def _name(self, event: Event) -> str | Reason:
        """What goes out as `event` (track), or the type itself; a reason where nothing goes out."""
        match event.type:
            case "track":
                name = self._policy.mapping.track(event.event or "")
                if name == "":
                    raise _invalid("an event name without a letter or digit")
                return name
            case "page":
                return self._policy.mapping.page or PAGE
            case "identify" if self._policy.forward_identify:
                return "identify"
        return Reason.ABSORBED

    def _chosen(self, traits: Mapping[str, object]) -> Traits:
        """The configured traits, in the configured order, nulls included (in an identify they mean: remove)."""
        wanted = self._policy.traits
        # most visitors are known by all of them, in this order: to look each up again would cost more than the rest
        if wanted is None or wanted == tuple(traits):
            return dict(traits)
        return {name: traits[name] for name in wanted if name in traits}

    def _item(
        self,
        tp: TopicPartition,
        record: Record,
        event: Event,
        name: str,
        visitor: str | None,
        identities: Identities,
        schema: SchemaRef,
    ) -> Item:
        if visitor is None:
            raise _invalid("neither anonymousId nor userId")
        if event.timestamp_ms is None:
            raise _invalid("no readable timestamp (it needs a zone, or a timestamp-millis or timestamp-micros type)")
        if event.message_id and len(event.message_id) > MAX_MESSAGE_ID_CHARACTERS:
            raise _invalid(
                f"a messageId of {len(event.message_id)} characters, {MAX_MESSAGE_ID_CHARACTERS} are allowed"
            )
        if event.malformed:
            raise _invalid(f"{event.malformed} are a string that holds no JSON object")
        message_id = event.message_id or derived_message_id(tp, record)
        traits = self._traits(event, visitor, identities, event.timestamp_ms, record.offset)
        payload = self._encoded(event, name, message_id, self._timestamps.text(event.timestamp_ms), traits)
        label = name if name in self._labels else OTHER
        return Item(record, payload, message_id, label, traits is not None, schema)

    def _traits(
        self, event: Event, visitor: str, identities: Identities, timestamp_ms: int, offset: int
    ) -> Traits | msgspec.Raw | None:
        """The event's own, over what is known of its visitor; None where there is nothing of either."""
        own: Traits = {}
        if event.traits:
            own = {key: value for key, value in self._chosen(event.traits).items() if value is not None}
        if event.type == IDENTIFY:
            return own or None
        known = identities.traits_for(visitor, event.user_id, self._chosen, at_ms=timestamp_ms, offset=offset)
        if not own or known is None:
            return own or known
        return self._chosen({**msgspec.json.decode(known, type=Traits), **own})

    def _encoded(
        self, event: Event, name: str, message_id: str, timestamp: str, traits: Traits | msgspec.Raw | None
    ) -> bytes:
        kind = event.type
        assert kind is not None  # narrowed by `_decide`
        context, at_top = event.context, traits
        if traits and kind != "identify" and self._policy.placement is not TraitsPlacement.TOP_LEVEL:
            context = {**context, "traits": traits}
            if self._policy.placement is TraitsPlacement.CONTEXT:
                at_top = None
        payload = Payload(
            kind,
            name if kind == "track" else None,
            event.name if kind == "page" else None,
            event.anonymous_id,
            event.user_id,
            message_id,
            timestamp,
            event.properties,
            at_top,
            context or None,
        )
        try:
            encoded = encode(payload, event.properties, None if isinstance(traits, msgspec.Raw) else traits)
        except NotJsonError as error:
            raise _invalid(f"{error} in what would be sent") from None
        if len(encoded) > self._largest_bytes:
            raise self._too_large(encoded)
        return encoded

    def _too_large(self, payload: bytes) -> _RefusedError:
        policy = self._policy
        if policy.event_max_bytes is not None and len(payload) > policy.event_max_bytes:
            limit = f"over EVENT_MAX_BYTES={policy.event_max_bytes}"
        else:
            limit = f"does not fit in a body below {policy.batch_max_bytes} bytes"
        detail = f"{len(payload)} bytes, {limit}; largest: {_largest_property(payload)}"
        return _RefusedError(Reason.TOO_LARGE, Stage.ENCODE, detail)


def _largest_property(payload: bytes) -> str:
    """Name and size of the largest property, for a dead letter's detail; of the largest field where properties are
    small.
    """
    item: dict[str, msgspec.Raw] = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
    parts = {name: len(bytes(value)) for name, value in item.items()}
    if "properties" in item and parts["properties"] == max(parts.values()):
        properties = msgspec.json.decode(item["properties"], type=dict[str, msgspec.Raw])
        parts = {f"properties.{_excerpt(name)}": len(bytes(value)) for name, value in properties.items()}
    name = max(parts, key=lambda part: parts[part])
    return f"{name} ({parts[name]} bytes)"


def _invalid(detail: str) -> _RefusedError:
    return _RefusedError(Reason.INVALID_EVENT, Stage.VALIDATE, detail)


def _excerpt(text: str) -> str:
    """Enough of a name to find it: names are the site's, not the visitor's, but nobody bounds their length."""
    return repr(text if len(text) <= 40 else text[:37] + "...")
