"""From where to where a redrive goes in each partition: from what its group has committed to the end as it is found.
Commits the beginnings; reads no letter.

What it was asked for goes along with every commit as a digest, because a list of places has no bound and the metadata
of a commit does.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from worker.cluster import Cluster
from worker.core.records import TopicPartition
from worker.core.stretches import Asked, Stretch, stretch_of
from worker.errors import GroupBusyError
from worker.finish import standings_of
from worker.letters.selection import Ownership, Selection, redrive_group
from worker.letters.sources import LetterTopic
from worker.patience import offsets_in_time

Stretches = dict[TopicPartition, Stretch]

_ASKED, _TOPIC_ID = "redrive", "topic-id"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a redrive was asked for."""

    owner: Ownership
    selection: Selection

    @property
    def digest(self) -> str:
        """The same for two that were asked for the same."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:32]


class OtherRedriveError(GroupBusyError):
    """Stop: one that was asked for something else is at work, and two would pass each other's letters by."""


def found(cluster: Cluster, topics: Sequence[LetterTopic], wanted: Wanted) -> Stretches:
    """What a redrive that begins now would go through. Raises KafkaUnavailableError."""
    group = redrive_group(wanted.owner.group)
    ids = cluster.topic_ids([topic.name for topic in topics])
    offsets = offsets_in_time(cluster, group, [tp for topic in topics for tp in topic.tps])
    stretches: Stretches = {}
    for tp, at in offsets.items():
        before = stretch_of(at.metadata)
        asked: Asked = {_ASKED: wanted.digest, _TOPIC_ID: ids.get(tp.topic, "")}
        committed = at.committed
        if before is not None and before.asked.get(_TOPIC_ID) != asked[_TOPIC_ID]:
            committed = None  # the offset is of a topic that is no more
        if committed is None or committed > at.latest:
            stretches[tp] = Stretch(at.earliest, at.latest, asked)
        else:
            first = max(committed, at.earliest)
            stretches[tp] = Stretch(first, max(first, at.latest), asked, lost=first - committed)
    return stretches


def begun(cluster: Cluster, stretches: Stretches, wanted: Wanted) -> Stretches:
    """Commits these beginnings. Where a redrive that was asked for the same is at work its stretches are returned: this
    one helps it, and takes over should it die.

    Raises OtherRedriveError, or KafkaUnavailableError.
    """
    group = redrive_group(wanted.owner.group)
    try:
        cluster.commit(group, {tp: (stretch.first_offset, stretch.text()) for tp, stretch in stretches.items()})
    except GroupBusyError:
        return agreed(cluster, stretches, wanted)
    return stretches


def agreed(cluster: Cluster, stretches: Stretches, wanted: Wanted) -> Stretches:
    """What the group has of these partitions by now, where it was asked for the same. To be asked right before joining:
    whoever begins while this one still reads has the last word.

    Raises OtherRedriveError, or KafkaUnavailableError.
    """
    group = redrive_group(wanted.owner.group)
    standings = standings_of(cluster, group, list(stretches))
    if any(standing.stretch.asked.get(_ASKED) != wanted.digest for standing in standings.values()):
        raise OtherRedriveError(
            f"another redrive is at work with other options (group {group}), or was killed a moment ago: wait until it "
            "has ended, or the group has lost it"
        )
    return {tp: standing.stretch for tp, standing in standings.items()}
