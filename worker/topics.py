"""Topics: what the worker's own are called and how they have to be, and which of the cluster's are to be read. No
client, no look-ups.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from worker.errors import SettingsError

# A dead letter is its record plus the worker's headers (4 KB) and the framing of a batch: never larger than this on
# top.
DEAD_LETTER_HEADROOM_BYTES = 64 * 1024
DEFAULT_MAX_MESSAGE_BYTES = 1_048_588  # Kafka's own
DEAD_LETTER_RETENTION_MS = 30 * 24 * 60 * 60 * 1000
# An entry of the identity log outlives its visitor's time-to-live by this much: the log is by Kafka's time, the visitor
# by that of events.
IDENTITY_MARGIN_MS = 30 * 24 * 60 * 60 * 1000
# Who is forgotten is gone from the disks so soon, and the word that it was forgotten stays so long: a worker that was
# down meanwhile has to hear of it.
IDENTITY_COMPACTION_MS = 7 * 24 * 60 * 60 * 1000
IDENTITY_TOMBSTONES_MS = 30 * 24 * 60 * 60 * 1000

Config = Mapping[str, str]


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

    def selected_now(self, existing: Iterable[str]) -> list[str]:
        """As `selected`, for a command, which cannot wait for topics to come. Raises SettingsError where there are
        none.
        """
        found = self.selected(existing)
        if not found:
            raise SettingsError([f"KAFKA_TOPICS: no topic matches {self.wanted[0]} (or this user may not see it)"])
        return found


def _matcher(template: str) -> re.Pattern[str]:
    parts = re.split(r"(\{topic\}|\{group\})", template)
    return re.compile("".join(".+" if part in ("{topic}", "{group}") else re.escape(part) for part in parts))


class Doubt(NamedTuple):
    """What is wrong with a topic, as it goes on after its name, and what to do."""

    what: str
    remedy: str


def dead_letter_config(source: Config) -> dict[str, str]:
    """How a dead-letter topic is made, given its source's settings as far as they may be read."""
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(DEAD_LETTER_RETENTION_MS),
        "max.message.bytes": str(_largest(source) + DEAD_LETTER_HEADROOM_BYTES),
    }


def dead_letter_doubts(config: Config, source: Config) -> list[Doubt]:
    """What looks wrong about a dead-letter topic that somebody else made; nothing where its settings are not known."""
    found: list[Doubt] = []
    if not config:
        return found
    policy, largest = config.get("cleanup.policy"), _largest(source)
    if policy != "delete":
        found.append(
            Doubt(
                f"has cleanup.policy={policy}: compaction removes dead letters with the same key and refuses those "
                "without",
                "set it to delete",
            )
        )
    if int(config.get("max.message.bytes", 0)) < largest + DEAD_LETTER_HEADROOM_BYTES:
        found.append(
            Doubt(
                f"takes records up to {config.get('max.message.bytes')} bytes, its source {largest}: a large dead "
                "letter would be refused",
                f"set max.message.bytes to at least {largest + DEAD_LETTER_HEADROOM_BYTES}",
            )
        )
    return found


def _largest(config: Config) -> int:
    return int(config.get("max.message.bytes", DEFAULT_MAX_MESSAGE_BYTES))


def identity_config(ttl_ms: int) -> dict[str, str]:
    """How an identity log is made: the last entry of each visitor is kept, and none for ever."""
    return {
        "cleanup.policy": "compact,delete",
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": str(ttl_ms + IDENTITY_MARGIN_MS),
        "max.compaction.lag.ms": str(IDENTITY_COMPACTION_MS),
        "delete.retention.ms": str(IDENTITY_TOMBSTONES_MS),
    }


def identity_fault(config: Config) -> Doubt | None:
    """Why this topic cannot be an identity log; None as well without the right to read its settings."""
    policy = config.get("cleanup.policy")
    if policy is None or "compact" in policy.split(","):
        return None
    return Doubt(
        f"has cleanup.policy={policy}, which would delete what is known of visitors",
        "set it to compact,delete, or let the worker make the topic",
    )


def identity_doubts(config: Config, ttl_ms: int) -> list[Doubt]:
    """What is wrong with an identity log that somebody else made, though it can be used."""
    doubts: list[Doubt] = []
    if not config:
        return doubts
    if "delete" not in config.get("cleanup.policy", "").split(","):
        doubts.append(Doubt("keeps what is known of visitors for ever", "set cleanup.policy to compact,delete"))
    retention_ms, retention_bytes = int(config.get("retention.ms", -1)), int(config.get("retention.bytes", -1))
    if 0 <= retention_ms < ttl_ms:
        doubts.append(
            Doubt(
                f"has retention.ms={retention_ms}, less than IDENTITY_TTL_DAYS: visitors are forgotten too early",
                f"set it to {ttl_ms + IDENTITY_MARGIN_MS}",
            )
        )
    if retention_bytes >= 0:
        what = f"has retention.bytes={retention_bytes}: once a partition is as large, visitors are forgotten too early"
        doubts.append(Doubt(what, "set it to -1"))
    return doubts
