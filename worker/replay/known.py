"""The replays that Kafka knows of a live group, and how one is forgotten. Sends nothing."""

from dataclasses import dataclass

from worker.client_properties import client_properties
from worker.cluster import Cluster
from worker.errors import GroupBusyError, SettingsError
from worker.groups import Groups
from worker.render.lines import counted
from worker.replay.runs import Replay, find_replay, group_of, name_of
from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class Known:
    replay: Replay
    members: int


def known_replays(settings: Settings) -> list[Known]:
    """Without groups that are only named like one. Raises KafkaUnavailableError."""
    groups, cluster = Groups(client_properties(settings)), Cluster(client_properties(settings))
    live = settings.kafka_consumer_group
    found: list[Known] = []
    for name in _names(groups, live):
        replay = find_replay(cluster, live, name)
        if replay is not None:
            found.append(Known(replay, groups.members(replay.group)))
    return found


def drop_replay(settings: Settings, name: str) -> str:
    """Returns the group that is gone. Raises SettingsError where it is unknown or at work, or KafkaUnavailableError."""
    groups, live = Groups(client_properties(settings)), settings.kafka_consumer_group
    group, names = group_of(live, name), _names(groups, live)
    if name not in names:
        raise SettingsError([f"NAME: there is no replay {name} of {live}; there are: {', '.join(names) or 'none'}"])
    try:
        groups.delete(group)
    except GroupBusyError as busy:
        at_work = counted(groups.members(group), "process is", "processes are")
        raise SettingsError([f"NAME: {at_work} at work on {name}; stop what works on it first"]) from busy
    return group


def _names(groups: Groups, live: str) -> list[str]:
    return [name for group in groups.names() if (name := name_of(live, group)) is not None]
