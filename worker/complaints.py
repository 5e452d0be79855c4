"""What Kafka complains of: in whose words, which complaint to show, and for how long. Logs nothing, knows no client.

One cause brings many complaints. A wrong password makes the broker look down, and every question to it time out: beside
a cause that was named a moment ago, what follows from it is no news.
"""

import re
from collections.abc import Iterator, Mapping

from worker.core.lanes import Lane
from worker.core.records import TopicPartition

# What Kafka complains of comes back every few seconds while it lasts; silence for this long means that it is mended.
TROUBLE_SECONDS = 15.0

_WHAT_TO_DO = {
    "_AUTHENTICATION": "Check KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD",
    "_SSL": "Check KAFKA_TLS_CA_FILE, KAFKA_TLS_CERT_FILE and KAFKA_TLS_KEY_FILE, and the broker's certificate",
    "TOPIC_AUTHORIZATION_FAILED": "Grant READ and DESCRIBE on the topic; the README lists the ACLs the worker needs",
    "GROUP_AUTHORIZATION_FAILED": "Grant READ on the group; the README lists the ACLs the worker needs",
}
_ANYTHING = "Check KAFKA_BROKERS, KAFKA_TLS_* and KAFKA_SASL_*, and the ACLs that the README lists"

_HOW_LONG_IT_TOOK = re.compile(r" \(after \d+ ?ms[^)]*\)")


def advised(error: str, detail: str) -> str:
    """A complaint with what to do about it; `error` is Kafka's name of it."""
    return f"{in_short(detail)}. {_WHAT_TO_DO.get(error, _ANYTHING)}"


def in_short(detail: str) -> str:
    """Without how long it took, which makes every complaint look like a new one."""
    return _HOW_LONG_IT_TOOK.sub("", detail).rstrip(".")


class Complaints:
    """Those of the moment."""

    def __init__(self) -> None:
        self.detail = ""
        self._heard_at = self._cause_at = float("-inf")
        self._unreadable: dict[TopicPartition, tuple[str, int | None]] = {}
        self._shut_out = ""

    def heard(self, detail: str, now: float, *, cause: bool) -> bool:
        """Takes one in; returns whether it is the one to show."""
        self._heard_at = now
        if cause:
            self._cause_at = now
        elif now - self._cause_at < TROUBLE_SECONDS:
            return False
        self.detail = detail
        return True

    def ended(self) -> None:
        """Something has worked that none of them would have let through."""
        self._heard_at = self._cause_at = float("-inf")
        self._shut_out = ""

    def lasting(self, now: float) -> bool:
        """Whether there is anything to complain of."""
        return now - self._heard_at < TROUBLE_SECONDS

    def refused(self, tp: TopicPartition | None, detail: str) -> None:
        """A partition may not be read, or (None) the group not be joined. The client says it once and then falls
        silent, for as long as it lasts.
        """
        if tp is None:
            self._shut_out = detail
        else:
            self._unreadable[tp] = (detail, None)

    def still_refused(self, lanes: Mapping[TopicPartition, Lane], ends: Mapping[TopicPartition, int]) -> Iterator[str]:
        """The group, until something `ended` it; partitions that have something to read, while nothing comes."""
        if self._shut_out:
            yield self._shut_out
        for tp, (detail, position) in list(self._unreadable.items()):
            lane = lanes.get(tp)
            if lane is None or (position is not None and lane.position != position):
                del self._unreadable[tp]
                continue
            self._unreadable[tp] = (detail, lane.position)
            if (lane.position or 0) < lane.within(ends.get(tp, 0)):
                yield detail
