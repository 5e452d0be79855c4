import pytest

from worker.masking import MASK, masked, masked_event, masked_text, masked_url


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Jane Doe", "J***"),
        ("jane.doe@acme.com", "j***@a***.com"),
        ("jane@mail.acme.co.uk", "j***@m***.uk"),
        ("j@a.b", "j***"),
        ("jane at acme", "j***"),
        ("abc", "a***"),
        ("ab", MASK),
        ("", ""),
        ("24.5.68.47", "2***"),
    ],
)
def test_a_text_is_masked_but_keeps_its_kind(text: str, shown: str) -> None:
    assert masked_text(text) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://acme.com/pricing?email=jane@acme.com#top", "https://acme.com/pricing?***#***"),
        ("https://acme.com/pricing", "https://acme.com/pricing"),
        ("https://jane:secret@acme.com/a", "https://***@acme.com/a"),
        ("https://acme.com/unsubscribe/jane@acme.com/now", "https://acme.com/unsubscribe/***/now"),
        ("https://acme.com/unsubscribe/jane%40acme.com", "https://acme.com/unsubscribe/***"),
        ("/pricing?utm=a", "/pricing?***"),
        ("https://[broken", "h***"),
        ("mailto:jane@acme.com", "mailto:***"),
    ],
)
def test_of_a_url_the_path_is_shown_and_what_may_name_somebody_is_not(url: str, shown: str) -> None:
    assert masked_url(url) == shown


def test_structure_numbers_and_booleans_stay() -> None:
    value = {"products": [{"sku": "A-1", "price": 9.5, "new": True, "note": None}], "count": 2, "empty": {}}
    assert masked(value) == {
        "products": [{"sku": "A***", "price": 9.5, "new": True, "note": None}],
        "count": 2,
        "empty": {},
    }


def test_what_is_nested_without_end_is_cut_off() -> None:
    value: object = "deep"
    for _ in range(5_000):
        value = [value]
    assert MASK in repr(masked(value))


def test_of_an_event_only_what_names_nobody_is_shown() -> None:
    event = {
        "type": "track",
        "event": "Lead Generated",
        "messageId": "evt_1",
        "anonymousId": "df_8f2a1c9e",
        "userId": "jane.doe@acme.com",
        "groupId": "acme",
        "timestamp": "2026-06-06T11:11:14.000Z",
        "properties": {"form_id": "demo-request", "value": 0},
        "traits": {"email": "jane.doe@acme.com"},
        "context": {
            "ip": "24.5.68.47",
            "userAgent": "Mozilla/5.0",
            "page": {"url": "https://acme.com/p?x=1", "title": "Hello Jane", "referrer": "https://google.com/?q=jane"},
            "campaign": {"source": "google", "medium": "cpc", "name": "brand-2026", "gclid": "abc123"},
            "consent": {"analytics": True, "note": "said Jane"},
            "traits": {"name": "Jane Doe"},
        },
    }
    assert masked_event(event) == {
        "type": "track",
        "event": "Lead Generated",
        "messageId": "evt_1",
        "anonymousId": "df_8f2a1c9e",
        "userId": "j***@a***.com",
        "groupId": "a***",
        "timestamp": "2026-06-06T11:11:14.000Z",
        "properties": {"form_id": "d***", "value": 0},
        "traits": {"email": "j***@a***.com"},
        "context": {
            "ip": "2***",
            "userAgent": "M***",
            "page": {"url": "https://acme.com/p?***", "title": "H***", "referrer": "https://google.com/?***"},
            "campaign": {"source": "google", "medium": "cpc", "name": "brand-2026", "gclid": "a***"},
            "consent": {"analytics": True, "note": "s***"},
            "traits": {"name": "J***"},
        },
    }
