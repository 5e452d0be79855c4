"""Which Dreamdata event a Signal event becomes, or why it becomes none (contract, "Event mapping"). Knows names,
nothing else of an event.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from worker.core.outcomes import Reason

PAGE = "page"
IDENTIFY = "identify"

VARIANTS: Mapping[str, Mapping[str, str]] = {
    "b2b_saas": {
        "Signed Up": "sign_up",
        "Logged In": "login",
        "Lead Generated": "lead_generated",
        "Form Submitted": "form_submitted",
        "Content Viewed": "content_viewed",
        "Trial Started": "trial_started",
        "Subscription Started": "subscription_started",
    },
    "default": {
        "Signed Up": "sign_up",
        "Lead Generated": "lead_generated",
        "Order Completed": "order_completed",
    },
}

# Event names come from a handful of call sites; beyond this many distinct ones somebody puts data into names, and
# remembering stops paying.
REMEMBERED_NAMES = 10_000

Target = str | Reason


class Entry(NamedTuple):
    """A line of the table: Signal's name as somebody wrote it, what it is called at Dreamdata ("": switched off), and
    whether the configuration says so or the variant.
    """

    name: str
    target: str
    configured: bool


class EventMapping:
    """The variant's table with the configuration's entries on top.

    An entry has two names, Signal's and Dreamdata's; a configured one replaces the entry that goes by either, so that
    what is renamed or switched off is so under both. `events` maps a name to its Dreamdata name, or to False.
    """

    def __init__(
        self, variant: str, events: Mapping[str, str | bool] | None = None, *, forward_unmapped: bool = False
    ) -> None:
        entries = [
            ({_folded(name), _folded(target)}, Entry(name, target, configured=False))
            for name, target in VARIANTS[variant].items()
        ]
        self.page: Reason | None = None
        for name, configured in (events or {}).items():
            key = _folded(name)
            if key == PAGE:
                self.page = Reason.SWITCHED_OFF if configured is False else None
                continue
            known, written = next(((names, entry.name) for names, entry in entries if key in names), (set(), name))
            names = {key} | known
            entries = [(taken, entry) for taken, entry in entries if not taken & names]
            entries.append((names, Entry(written, configured if isinstance(configured, str) else "", configured=True)))
        self._targets: dict[str, Target] = {}
        for names, entry in entries:
            for name in names | ({_folded(entry.target)} if entry.target else set()):
                self._targets[name] = entry.target or Reason.SWITCHED_OFF
        self._forward_unmapped = forward_unmapped
        self._known: dict[str, Target] = {}
        self.entries = tuple(entry for _, entry in entries)
        self.targets = frozenset(entry.target for entry in self.entries if entry.target)

    def track(self, name: str) -> Target:
        """The Dreamdata name of a track event, or `unmapped` or `switched-off`. Empty where a forwarded name has no
        letter or digit.
        """
        target = self._known.get(name)
        if target is None:
            target = self._look_up(name)
            if len(self._known) < REMEMBERED_NAMES:
                self._known[name] = target
        return target

    def _look_up(self, name: str) -> Target:
        target = self._targets.get(_folded(name))
        if target is not None:
            return target
        return snake_case(name) if self._forward_unmapped else Reason.UNMAPPED


class Selection:
    """The events that are wanted, of all that would be sent: by Signal's name or Dreamdata's, however it is written.

    `page` and `identify` stand for all of their type. `strange` are names by which nothing is ever sent.
    """

    def __init__(self, names: Iterable[str], mapping: EventMapping, *, forward_identify: bool) -> None:
        types = {PAGE: mapping.page is None, IDENTIFY: forward_identify}
        self._mapping = mapping
        self._types: set[str] = set()
        self._targets: set[str] = set()
        self.strange: list[str] = []
        for name in names:
            target = mapping.track(name)
            if types.get(_folded(name)):
                self._types.add(_folded(name))
            elif isinstance(target, Reason) or not target:
                self.strange.append(name)
            else:
                self._targets.add(target)

    def takes(self, kind: str | None, name: str | None) -> bool:
        """Whether an event of this type is wanted; `name` is a track's."""
        if kind == "track":
            return bool(name) and self._mapping.track(name or "") in self._targets
        return kind in self._types


def _folded(name: str) -> str:
    """`Signed Up`, `signed_up` and `Signed-Up` are one name."""
    return "".join(name.split()).replace("_", "").replace("-", "").casefold()


def snake_case(name: str) -> str:
    """`Demo Booked`, `DemoBooked` and `demo--booked` become `demo_booked`; `HTTPRequest2` becomes `http_request2`."""
    words: list[str] = []
    previous = ""
    for index, letter in enumerate(name):
        following = name[index + 1 : index + 2]
        if not letter.isalnum():
            words.append(" ")
        elif letter.isupper() and (
            previous.islower() or previous.isdigit() or (previous.isupper() and following.islower())
        ):
            words.append(" " + letter)
        else:
            words.append(letter)
        previous = letter
    return "_".join("".join(words).lower().split())
