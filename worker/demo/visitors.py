"""What visitors of a made-up B2B site do, one story each, and what is to become of every step.

Stories only: no times, no bytes. People are Visitor 17 of Example 17 at example.com, and so on; Jane has `jane.py`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from random import Random

from worker.core.outcomes import Outcome, Reason

Event = Mapping[str, object]

_SITE = "https://acme.com"
_PAGES = (
    ("/", "Acme"),
    ("/product", "Product"),
    ("/pricing", "Pricing"),
    ("/integrations?category=crm&sort=name", "Integrations"),
    ("/customers", "Customers"),
    ("/blog/attribution-guide", "A guide to attribution"),
    ("/docs/getting-started", "Getting started"),
)
_ARRIVALS: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("https://google.com", {"source": "google", "medium": "cpc", "name": "brand-2026", "term": "b2b attribution"}),
    ("https://linkedin.com", {"source": "linkedin", "medium": "paid-social", "name": "launch", "content": "video-b"}),
    ("", {"source": "newsletter", "medium": "email", "name": "june"}),
    ("https://google.com", {}),
    ("", {}),
)
_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:139.0) Gecko/20100101 Firefox/139.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_4 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1",
)
_LOCALES = (("en-US", "America/New_York"), ("de-DE", "Europe/Berlin"), ("fr-FR", "Europe/Paris"))
_UNMAPPED = ("Video Played", "Scroll Depth Reached", "Chat Opened", "Search Performed")
_PLANS = (("team", 49), ("business", 199))

_GRANTED = {"essential": True, "functional": True, "analytics": True, "marketing": True}
# The three shapes consent comes in, and how many visitors of a hundred send it so.
_CONSENTS: tuple[tuple[int, Mapping[str, object] | None, Reason | None], ...] = (
    (70, {"canonical": _GRANTED}, None),
    (8, {"categories": _GRANTED}, None),
    (7, dict(_GRANTED), None),
    (6, {"canonical": {"essential": True, "analytics": True}}, Reason.NO_CONSENT),
    (3, None, Reason.NO_CONSENT),
    (6, {"canonical": {**_GRANTED, "marketing": False}}, Reason.CONSENT_DENIED),
)


@dataclass(frozen=True, slots=True)
class Step:
    """One record of a visitor's, before it has a time and bytes. `event` is None where `raw` is no event at all."""

    key: str
    outcome: Outcome
    reason: Reason
    event: Event | None = None
    raw: bytes | None = None


class Visitor:
    """Somebody with a browser: makes the steps of a story one after the other, with the context of that browser."""

    def __init__(self, rng: Random, number: int) -> None:
        self.rng = rng
        self.number = number
        self.anonymous_id = f"df_{rng.getrandbits(32):08x}"
        self.user_id: str | None = None
        _, self.consent, self.refused = rng.choices(_CONSENTS, [share for share, _, _ in _CONSENTS])[0]
        self._referrer, self._campaign = rng.choice(_ARRIVALS)
        self._ip = f"{rng.choice(('192.0.2', '198.51.100', '203.0.113'))}.{rng.randrange(1, 255)}"
        self._agent = rng.choice(_AGENTS)
        self._locale, self._timezone = rng.choice(_LOCALES)
        self._path, self._title = _PAGES[0]

    def page(self) -> Step:
        previous, (self._path, self._title) = self._path, self.rng.choice(_PAGES)
        step = self._step({"type": "page", "name": self._title, "properties": {"path": self._path.partition("?")[0]}})
        self._referrer = _SITE + previous
        return step

    def track(self, name: str, **properties: object) -> Step:
        return self._step({"type": "track", "event": name, "properties": properties})

    def unmapped(self) -> Step:
        """An event the site collects and Dreamdata has no use for."""
        products = [{"sku": f"acme-{n}", "price": 49.5, "tags": ["demo", n]} for n in range(self.rng.randrange(3))]
        event = {"type": "track", "event": self.rng.choice(_UNMAPPED), "properties": {"products": products}}
        return self._step(event, Outcome.FILTERED, Reason.UNMAPPED)

    def identify(self) -> Step:
        """From here on Signal puts the userId on every event."""
        self.user_id = f"user-{1000 + self.number}"
        traits = {
            "email": f"visitor-{self.number}@example.com",
            "name": f"Visitor {self.number}",
            "company": f"Example {self.number}",
            "plan_interest": self.rng.choice(("team", "business", None)),
        }
        return self._step({"type": "identify", "traits": traits}, Outcome.FILTERED, Reason.ABSORBED)

    def group(self) -> Step:
        event = {"type": "group", "groupId": f"example-{self.number}", "traits": {"employees": 50 + self.number % 900}}
        return self._step(event, Outcome.FILTERED, Reason.ABSORBED)

    def withdraw_consent(self) -> None:
        """From here on every event says so, and the worker forgets who this is."""
        self.consent, self.refused = {"canonical": {**_GRANTED, "marketing": False}}, Reason.CONSENT_DENIED

    def _step(self, event: Event, outcome: Outcome = Outcome.DELIVERED, reason: Reason = Reason.DELIVERED) -> Step:
        whole = {
            "messageId": f"evt_{self.rng.getrandbits(64):016x}",
            "anonymousId": self.anonymous_id,
            "userId": self.user_id,
            "context": self._context(),
            **event,
        }
        # Consent is asked before anything else of an event is looked at.
        if self.refused is not None:
            outcome, reason = Outcome.FILTERED, self.refused
        return Step(self.anonymous_id, outcome, reason, whole)

    def _context(self) -> Event:
        return {
            "ip": self._ip,
            "userAgent": self._agent,
            "locale": self._locale,
            "timezone": self._timezone,
            "page": {
                "url": _SITE + self._path,
                "path": self._path.partition("?")[0],
                "title": self._title,
                "referrer": self._referrer,
                "search": self._path.partition("?")[2],
            },
            "campaign": self._campaign or None,
            "device": {"type": "mobile" if "Mobile" in self._agent else "desktop", "width": 1440},
            "consent": self.consent,
            "vendorIds": {"ga": f"GA1.1.{self.number}.1780000000"},
        }


def stories(seed: int) -> Iterator[Iterator[Step]]:
    """One visitor's story after the other, without end; the same for the same seed."""
    for number in count(1):
        rng = Random(f"{seed}/visitor/{number}")
        story = rng.choices((_browses, _becomes_a_lead, _signs_up, _comes_back), (45, 25, 15, 15))[0]
        yield story(Visitor(rng, number))


def _visits(visitor: Visitor, fewest: int, most: int) -> Iterator[Step]:
    for _ in range(visitor.rng.randint(fewest, most)):
        yield visitor.page()
        if visitor.rng.random() < 0.3:
            yield visitor.unmapped()
        if visitor.rng.random() < 0.15:
            yield visitor.track("Content Viewed", content_type="guide", words=1800, gated=False)


def _browses(visitor: Visitor) -> Iterator[Step]:
    yield from _visits(visitor, 1, 8)


def _becomes_a_lead(visitor: Visitor) -> Iterator[Step]:
    yield from _visits(visitor, 2, 6)
    yield visitor.track("Form Submitted", form_id="demo-request", fields=["email", "company"], newsletter=False)
    yield visitor.identify()
    yield visitor.track("Lead Generated", form_id="demo-request", value=0, currency="USD")
    yield from _visits(visitor, 1, 5)
    if visitor.rng.random() < 0.08:
        visitor.withdraw_consent()
        yield from _visits(visitor, 1, 3)


def _signs_up(visitor: Visitor) -> Iterator[Step]:
    yield from _visits(visitor, 2, 5)
    yield visitor.track("Signed Up", method="email")
    yield visitor.identify()
    yield visitor.group()
    yield visitor.track("Trial Started", plan="team", trial_days=14)
    yield from _visits(visitor, 2, 6)
    if visitor.rng.random() < 0.4:
        plan, price = visitor.rng.choice(_PLANS)
        products = [{"sku": f"acme-{plan}", "price": float(price), "seats": 12, "addons": [{"sku": "sso", "price": 0}]}]
        yield visitor.track("Subscription Started", plan=plan, value=price * 12, currency="EUR", products=products)


def _comes_back(visitor: Visitor) -> Iterator[Step]:
    yield visitor.identify()
    # Names match however they are written.
    yield visitor.track(visitor.rng.choice(("Logged In", "logged_in")), method="sso")
    yield from _visits(visitor, 3, 9)
