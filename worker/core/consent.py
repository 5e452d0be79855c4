"""Whether an event may be sent at all (contract, "Consent"). Knows category names and booleans, nothing else of an
event.
"""

from collections.abc import Iterable, Mapping

from worker.core.outcomes import Reason

ALWAYS_GRANTED = "essential"


class Consent:
    """The categories an integration needs; none at all switches the check off."""

    def __init__(self, categories: Iterable[str]) -> None:
        self._required = tuple(category for category in categories if category != ALWAYS_GRANTED)

    def judge(self, given: Mapping[str, object] | None) -> Reason | None:
        """None where all required categories are granted, else why not.

        Granted is the boolean `true` alone: `1`, `"true"` and the like are as good as missing. An explicit `false`
        anywhere wins over a missing category, because it also makes the worker forget the visitor.
        """
        verdict = None
        for category in self._required:
            value = given.get(category) if given else None
            if value is True:
                continue
            if value is False:
                return Reason.CONSENT_DENIED
            verdict = Reason.NO_CONSENT
        return verdict
