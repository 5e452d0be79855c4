"""What is wrong with the group: its rights, its members, and where it goes on. Values in, results out; no client."""

from collections import defaultdict
from collections.abc import Mapping

from worker.check.results import Result, finding, ok, skipped
from worker.cluster import Offsets
from worker.core.records import TopicPartition
from worker.core.start_offsets import OffsetReset, Start, start_of
from worker.inspector import GroupSeen

GROUP, LAG = "group", "lag"


def judge_group(name: str, seen: GroupSeen, assignors: str | None) -> list[Result]:
    """`assignors` are the ones this worker would offer, None where the broker assigns."""
    found: list[Result] = []
    if seen.rights is not None and "READ" not in seen.rights:
        found.append(finding(GROUP, f"{name} may not be joined", "grant READ on the group to this user"))
    if assignors is not None and seen.assignor and seen.assignor not in assignors.split(","):
        found.append(
            finding(
                GROUP,
                f"the members of {name} share partitions by {seen.assignor}, this worker by {assignors}: the broker "
                "would refuse it",
                "give the worker a group of its own (KAFKA_CONSUMER_GROUP), or end the other consumers first",
            )
        )
    if found:
        return found
    if not seen.exists:
        return [ok(GROUP, f"{name} does not exist yet")]
    members = f"{seen.members} member{'' if seen.members == 1 else 's'}" if seen.members else "no members at present"
    return [ok(GROUP, f"{name}: {members}")]


def judge_lag(offsets: Mapping[TopicPartition, Offsets], reset: OffsetReset) -> list[Result]:
    """A result for each topic: how much is to be read, and what cannot be read as somebody would expect."""
    by_topic: dict[str, dict[TopicPartition, Offsets]] = defaultdict(dict)
    for tp, found in sorted(offsets.items()):
        by_topic[tp.topic][tp] = found
    if not by_topic:
        return [skipped(LAG, "there is no topic to read")]
    results: list[Result] = []
    for topic, partitions in by_topic.items():
        starts = {
            tp: start_of(found.committed, found.earliest, found.latest, reset) for tp, found in partitions.items()
        }
        problems = [result for tp, start in starts.items() for result in _odd(tp, start)]
        results += problems or [ok(LAG, _lag(topic, partitions, starts))]
    return results


def _lag(topic: str, partitions: Mapping[TopicPartition, Offsets], starts: Mapping[TopicPartition, Start]) -> str:
    behind = sum(partitions[tp].latest - start.offset for tp, start in starts.items())
    to_read = f"{behind:,} {'record' if behind == 1 else 'records'} to read"
    new = sum(found.committed is None for found in partitions.values())
    if new == len(partitions):
        return f"{topic}: nothing committed yet, {to_read}"
    places = f"{new} {'partition' if new == 1 else 'partitions'}"
    return f"{topic}: {to_read}" + (f", nothing committed yet in {places}" if new else "")


def _odd(tp: TopicPartition, start: Start) -> list[Result]:
    where = f"{tp.topic} [{tp.partition}]"
    if start.refused:
        return [
            finding(
                LAG,
                f"{where}: {start.refused}, and KAFKA_AUTO_OFFSET_RESET=error stops the worker there",
                "set KAFKA_AUTO_OFFSET_RESET to earliest or latest, or commit an offset for the group",
            )
        ]
    if start.lost:
        return [
            finding(
                LAG,
                f"{where}: the next {start.lost:,} offsets were deleted before they were read; reading goes on at "
                f"{start.offset}",
                "raise the topic's retention; what is gone stays gone, and the worker goes on by itself",
            )
        ]
    if start.beyond:
        return [
            finding(
                LAG,
                f"{where}: the group's offset {start.committed} is beyond the end {start.offset}, where reading would "
                "begin",
                "the topic was probably made anew: move the group's offset to where it should begin",
            )
        ]
    return []
