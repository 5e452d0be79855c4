"""Signal events as records to produce: the shipped schema, single-object encoding. No Kafka and no assertions here."""

import datetime as dt
from typing import Any

from tests.integration.cluster import Message
from worker.core.outcomes import Outcome
from worker.encoding import single_object_encoder
from worker.settings.table import shipped_schemas

MOMENT = dt.datetime(2026, 6, 6, 11, 11, 14, tzinfo=dt.UTC)
GRANTED = {"analytics": True, "marketing": True}

_encode = single_object_encoder((shipped_schemas() / "signal_event.avsc").read_text())


def signal(message_id: str | None, visitor: str | None = "df_8f2a1c9e", /, **fields: Any) -> Message:
    """A Lead Generated with consent; `fields` have the schema's names and win, `context` is merged."""
    context = {"consent": GRANTED, **fields.pop("context", {})}
    event = {
        "type": "track",
        "event": "Lead Generated",
        "messageId": message_id,
        "anonymousId": visitor,
        "timestamp": MOMENT,
        "context": context,
        **fields,
    }
    return Message(_encode(event), key=(visitor or "").encode())


def signals(count: int, *, prefix: str = "evt", **fields: Any) -> list[Message]:
    """Events `evt_0`, `evt_1`, ... of a hundred visitors, about half a kilobyte each."""
    padding = {"properties": {"form_id": "demo-request", "padding": "x" * 200}}
    return [signal(f"{prefix}_{number}", f"df_{number % 100}", **{**padding, **fields}) for number in range(count)]


def ids(count: int, *, prefix: str = "evt") -> set[str]:
    return {f"{prefix}_{number}" for number in range(count)}


def delivered(count: int) -> dict[tuple[str, ...], int]:
    """The counters of a run in which that many were delivered and nothing else came."""
    return {(Outcome.DELIVERED.value, ""): count}
