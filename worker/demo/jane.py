"""The contract's own example as traffic: Jane Doe asks for a demo, and somebody else logs in at her browser.

Nothing random in here: what comes out is to be recognised, field by field, in the documentation.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from worker.core.outcomes import Outcome, Reason
from worker.demo.visitors import Step

ANONYMOUS_ID = "df_8f2a1c9e"
LEAD_MESSAGE_ID = "evt_6f47f5a0"
# The moment of the example, in milliseconds.
LEAD_AT_MS = int(datetime(2026, 6, 6, 11, 11, 14, tzinfo=UTC).timestamp()) * 1000

_CONTEXT = {
    "ip": "24.5.68.47",
    "userAgent": "Mozilla/5.0",
    "locale": "en-US",
    "timezone": "America/New_York",
    "page": {
        "url": "https://acme.com/pricing",
        "path": "/pricing",
        "title": "Pricing",
        "referrer": "https://google.com",
        "search": "",
    },
    "campaign": {"source": "google", "medium": "cpc", "name": "brand-2026"},
    "consent": {"canonical": {"essential": True, "analytics": True, "marketing": True}},
    "vendorIds": {"ga": "GA1.1.8675309"},
}


def _step(seconds: int, event: Mapping[str, object], reason: Reason = Reason.DELIVERED) -> tuple[int, Step]:
    outcome = Outcome.FILTERED if reason else Outcome.DELIVERED
    return seconds * 1000, Step(
        ANONYMOUS_ID, outcome, reason, {"anonymousId": ANONYMOUS_ID, "context": _CONTEXT, **event}
    )


# Milliseconds from the lead, and what happened.
STORY: tuple[tuple[int, Step], ...] = (
    _step(-95, {"type": "page", "name": "Pricing", "messageId": "evt_6f47f59c", "properties": {"path": "/pricing"}}),
    _step(
        -1,
        {
            "type": "identify",
            "messageId": "evt_6f47f59f",
            "userId": "user-123",
            "traits": {"email": "jane.doe@acme.com", "name": "Jane Doe", "company": "Acme Inc"},
        },
        Reason.ABSORBED,
    ),
    _step(
        0,
        {
            "type": "track",
            "event": "Lead Generated",
            "messageId": LEAD_MESSAGE_ID,
            "userId": "user-123",
            "properties": {"form_id": "demo-request", "value": 0, "currency": "USD"},
        },
    ),
    # Without an identify of their own: Jane's email must not go out with another user's event.
    _step(
        340,
        {
            "type": "track",
            "event": "Logged In",
            "messageId": "evt_6f47f5b4",
            "userId": "user-124",
            "properties": {"method": "password"},
        },
    ),
)
