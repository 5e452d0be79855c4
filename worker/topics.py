"""The names of topics: the worker's own, and which of the cluster's are to be read. No client, no look-ups."""

import re
from collections.abc import Iterable


class TopicNames:
    """`dead_letter` and `identity` are the templates of the settings, `wanted` the topics of `KAFKA_TOPICS`: a list, or
    one `^regex`.
    """

    def __init__(self, wanted: Iterable[str], group: str, *, dead_letter: str, identity: str) -> None:
        self.wanted = tuple(wanted)
        self._group = group
        self._dead_letter = dead_letter
        self._identity = identity
        self._own = tuple(_matcher(template) for template in (dead_letter, identity))

    def dead_letter(self, topic: str) -> str:
        return self._dead_letter.replace("{topic}", topic).replace("{group}", self._group)

    def identity(self, topic: str) -> str:
        return self._identity.replace("{topic}", topic).replace("{group}", self._group)

    def is_own(self, topic: str) -> bool:
        """Whether the worker, for any topic and any group, might have made it: such a topic is never read.

        Of any group, because two groups may deliver from the same topics, and one's identity log is no event stream to
        the other.
        """
        return any(matcher.fullmatch(topic) for matcher in self._own)

    @property
    def is_pattern(self) -> bool:
        return len(self.wanted) == 1 and self.wanted[0].startswith("^")

    def selected(self, existing: Iterable[str]) -> list[str]:
        """What to subscribe to: the list as it is, or what matches the pattern among the existing topics."""
        if not self.is_pattern:
            return list(self.wanted)
        pattern = re.compile(self.wanted[0])
        return sorted(
            topic
            for topic in existing
            if pattern.match(topic) and not topic.startswith("__") and not self.is_own(topic)
        )


def _matcher(template: str) -> re.Pattern[str]:
    parts = re.split(r"(\{topic\}|\{group\})", template)
    return re.compile("".join(".+" if part in ("{topic}", "{group}") else re.escape(part) for part in parts))
