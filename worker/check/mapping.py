"""What becomes of which event, as a table, and what in EVENT_MAPPING is probably not meant. No event is seen here."""

from typing import NamedTuple

from worker.check.results import Result, ok, warning
from worker.core.mapping import PAGE, EventMapping
from worker.settings import Settings
from worker.settings.values import UnmappedEvents

MAPPING = "mapping"
_NOT_SENT = "not sent"


class Row(NamedTuple):
    """`sent` is what arrives at Dreamdata, `why` the setting that says so."""

    event: str
    sent: str
    why: str


def rows(settings: Settings, mapping: EventMapping) -> list[Row]:
    """The table that results from VARIANT, EVENT_MAPPING, UNMAPPED_EVENTS and FORWARD_IDENTIFY."""
    variant = f"VARIANT={settings.variant.value}"
    forwarded = settings.unmapped_events is UnmappedEvents.FORWARD
    return [
        Row("page", _NOT_SENT if mapping.page else "type page", "EVENT_MAPPING" if mapping.page else variant),
        *(
            Row(f"track {entry.name}", entry.target or _NOT_SENT, "EVENT_MAPPING" if entry.configured else variant)
            for entry in mapping.entries
        ),
        Row(
            "any other track",
            "under its snake_case name" if forwarded else _NOT_SENT,
            f"UNMAPPED_EVENTS={settings.unmapped_events.value}",
        ),
        Row(
            "identify",
            "type identify" if settings.forward_identify else "not sent, its traits ride on later events",
            f"FORWARD_IDENTIFY={str(settings.forward_identify).lower()}",
        ),
        Row("group", _NOT_SENT, "always"),
    ]


def judge_mapping(settings: Settings, mapping: EventMapping) -> list[Result]:
    found = [
        warning(
            MAPPING,
            f"EVENT_MAPPING gives {name} the name {target!r}, but page views have no name of an event: they stay pages",
            "leave it out, or set it to false to switch page views off",
        )
        for name, target in settings.event_mapping.items()
        if name.strip().lower() == PAGE and target is not False
    ]
    lost = len(settings.event_mapping) - sum(entry.configured for entry in mapping.entries)
    lost -= sum(name.strip().lower() == PAGE for name in settings.event_mapping)
    if lost > 0:
        found.append(
            warning(
                MAPPING,
                "EVENT_MAPPING names an event twice: case, spaces, underscores and hyphens make no difference, and an "
                "event goes by its Dreamdata name too. The last line counts",
                "leave out all but one",
            )
        )
    sent = sum(bool(entry.target) for entry in mapping.entries)
    return found or [ok(MAPPING, f"{sent} track events are sent{'' if mapping.page else ', and page views'}")]
