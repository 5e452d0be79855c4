"""A replay as it stands in Kafka: the offsets of a group of its own, whose metadata say which range it has. Begun,
found again, refused where it is another one. Sends nothing and joins no group.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from worker.core.records import TopicPartition
from worker.core.stretches import MAX_ASKED_BYTES, Asked, Stretch
from worker.errors import GroupBusyError, KafkaUnavailableError, SettingsError
from worker.extents import Extent, OffsetFinder, RangeOptions, find_extents, wanted_of
from worker.finish import Ledger, Standing, standings_of
from worker.topics import TopicNames

MAX_NAME_CHARACTERS = 64
_NAME = re.compile(rf"[A-Za-z0-9._-]{{1,{MAX_NAME_CHARACTERS}}}")
_INFIX = ".replay."


class RangeCluster(OffsetFinder, Ledger, Protocol):
    """The cluster, as far as a replay begins. Blocking; raises KafkaUnavailableError."""

    def commit(self, group: str, offsets: Mapping[TopicPartition, tuple[int, str]]) -> None:
        """Raises GroupBusyError as well, where the group has members."""


@dataclass(frozen=True, slots=True)
class Replay:
    """One that is known to Kafka, as it stands."""

    name: str
    group: str
    asked: Asked
    standings: Mapping[TopicPartition, Standing]

    @property
    def topics(self) -> list[str]:
        return sorted({tp.topic for tp in self.standings})

    @property
    def events(self) -> list[str]:
        """The names that were selected; none: all events."""
        return list(self.asked.get("event", []))

    @property
    def left(self) -> int:
        return sum(standing.left for standing in self.standings.values())

    @property
    def offsets(self) -> int:
        return sum(standing.stretch.offsets for standing in self.standings.values())


def group_of(live_group: str, name: str) -> str:
    """Raises SettingsError where the name cannot be part of a group's."""
    if not _NAME.fullmatch(name):
        raise SettingsError(
            [f"--name: {name!r} cannot be used; allowed: up to {MAX_NAME_CHARACTERS} letters, digits, '.', '_' and '-'"]
        )
    return f"{live_group}{_INFIX}{name}"


def name_of(live_group: str, group: str) -> str | None:
    """The replay's name where this is the group of one of the live group's."""
    prefix = f"{live_group}{_INFIX}"
    return group.removeprefix(prefix) if group.startswith(prefix) else None


def find_replay(cluster: RangeCluster, live_group: str, name: str) -> Replay | None:
    """None where the group has committed nothing, or nothing of ours. Raises KafkaUnavailableError."""
    group = group_of(live_group, name)
    everywhere = [
        TopicPartition(topic, number)
        for topic, count in cluster.partitions().items()
        if not topic.startswith("__")
        for number in range(count)
    ]
    standings = standings_of(cluster, group, everywhere)
    if not standings:
        return None
    asked = next(iter(standings.values())).stretch.asked
    return Replay(name, group, asked, standings)


def asked_for(options: RangeOptions, events: Collection[str]) -> Asked:
    """What a replay was asked for, as it is kept and compared: only what was given."""
    given: dict[str, str | list[str] | None] = {
        "topic": options.topic,
        "from": options.from_time,
        "to": options.to_time,
        "from-offset": list(options.from_offsets),
        "to-offset": list(options.to_offsets),
        "event": sorted(set(events)),
    }
    asked: Asked = {option: value for option, value in given.items() if value}
    if len(msgspec.json.encode(asked)) > MAX_ASKED_BYTES:
        raise SettingsError([f"--event: these names take more than the {MAX_ASKED_BYTES} bytes that a commit can keep"])
    return asked


def in_words(asked: Asked) -> str:
    """As the options that say it."""
    given = [
        (option, each) for option, value in asked.items() for each in ([value] if isinstance(value, str) else value)
    ]
    return " ".join(f"--{option} {each!r}" if " " in each else f"--{option} {each}" for option, each in given)


def check_same(replay: Replay, asked: Asked) -> None:
    """Raises SettingsError where this name has another range than is asked for; nothing asked for is the same."""
    if asked and asked != replay.asked:
        other = f"{replay.name} has the range {in_words(replay.asked)}, not {in_words(asked)}"
        remedy = f"another range needs another name, or `replay drop {replay.name}` first"
        raise SettingsError([f"--name: {other}. Without a range it goes on with its own; {remedy}"])


def topics_of(cluster: RangeCluster, names: TopicNames, topic: str | None) -> list[str]:
    """The topics a range is looked for in. Raises SettingsError, or KafkaUnavailableError."""
    if topic is None:
        return names.selected_now(cluster.partitions())
    if names.is_own(topic):
        raise SettingsError([f"--topic: {topic} is named like a topic of the worker's own; name the one it reads"])
    return [topic]


def extents_for(
    cluster: RangeCluster, names: TopicNames, options: RangeOptions, now_ms: int
) -> dict[TopicPartition, Extent]:
    """Raises SettingsError with all that is wrong, or KafkaUnavailableError."""
    wanted = wanted_of(options, now_ms)
    return find_extents(cluster, topics_of(cluster, names, options.topic), wanted)


def begin_replay(
    cluster: RangeCluster, live_group: str, name: str, asked: Asked, extents: Mapping[TopicPartition, Extent]
) -> Replay:
    """Commits the first offset of every partition, with its end. Where another process of the same name was quicker,
    its range counts.

    Raises SettingsError where that is another range, or KafkaUnavailableError.
    """
    group = group_of(live_group, name)
    offsets = {
        tp: (extent.first_offset, Stretch(extent.first_offset, extent.end_offset, asked).text())
        for tp, extent in extents.items()
        if extent.offsets
    }
    try:
        cluster.commit(group, offsets)
    except GroupBusyError as busy:
        begun = find_replay(cluster, live_group, name)
        if begun is None:
            raise SettingsError(
                [f"--name: group {group} has members that are no replay's: choose another name"]
            ) from busy
        check_same(begun, asked)
        return begun
    begun = find_replay(cluster, live_group, name)
    if begun is None:
        raise KafkaUnavailableError(f"what was committed for group {group} cannot be read back")
    check_same(begun, asked)
    return begun
