"""What can become of a record, and what an answer of the API means. Tables and values, no decisions.

The reasons are fixed words: metrics, dead-letter headers and users' dashboards rely on them.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum

import msgspec

from worker.core.decoding import SchemaRef
from worker.core.records import Record


class Outcome(StrEnum):
    """Every committed record is counted under exactly one."""

    DELIVERED = "delivered"
    FILTERED = "filtered"
    DEAD_LETTERED = "dead_lettered"


class Reason(StrEnum):
    DELIVERED = ""

    NULL_VALUE = "null-value"
    NO_CONSENT = "no-consent"
    CONSENT_DENIED = "consent-denied"
    ABSORBED = "absorbed"
    UNMAPPED = "unmapped"
    SWITCHED_OFF = "switched-off"
    NOT_SELECTED = "not-selected"
    FOREIGN = "foreign"
    EXHAUSTED = "exhausted"

    UNDECODABLE = "undecodable"
    UNKNOWN_SCHEMA = "unknown-schema"
    INVALID_EVENT = "invalid-event"
    TOO_LARGE = "too-large"
    REJECTED = "rejected"
    GAVE_UP = "gave-up"


class Stage(StrEnum):
    """Where a dead letter left the way of an event (header `dl-stage`)."""

    DECODE = "decode"
    VALIDATE = "validate"
    ENCODE = "encode"
    DELIVER = "deliver"


# What a dead letter weighs beside its record: the worker's headers, and the objects that hold them.
LETTER_HEADERS_BYTES = 512


class DeadLetter(msgspec.Struct, frozen=True):
    """A record that will be written to the dead-letter topic in the transaction that commits its offset.

    `failed_at` is on the loop's monotonic clock, in seconds: the committer turns it into a time of day. `detail` names
    fields, sizes and offsets, never the values of an event.
    """

    record: Record
    reason: Reason
    stage: Stage
    detail: str
    failed_at: float
    schema: SchemaRef | None = None
    http_status: int | None = None
    http_body: str = ""
    attempts: int = 0

    @property
    def size(self) -> int:
        """Bytes of the record and what is added to it: what it weighs in memory and in a transaction, roughly."""
        return self.record.size + LETTER_HEADERS_BYTES

    @property
    def outcome(self) -> Outcome:
        """Of one that a redrive leaves out: it goes back into its topic as it is."""
        return Outcome.FILTERED if self.reason in _LEFT_OUT else Outcome.DEAD_LETTERED


_LEFT_OUT = frozenset({Reason.NOT_SELECTED, Reason.FOREIGN})


def left_out(record: Record, reason: Reason, now: float) -> DeadLetter:
    """What becomes of a dead letter that was not asked for, or is foreign (another group's, or no worker's): the offset
    moves past it, so it is written again.
    """
    return DeadLetter(record, reason, Stage.VALIDATE, "", now)


class Verdict(Enum):
    """What an answer means for the batch it answers (contract, "What the API answers")."""

    TAKEN = "taken"
    NOT_NOW = "not now"
    TOO_BIG = "too big"
    BAD = "something in it is bad"
    FORBIDDEN = "wrong or revoked key"
    WRONG_ADDRESS = "wrong address"


class HoldReason(StrEnum):
    """Why nothing is delivered or committed (metric `held`, `/readyz`)."""

    UNAUTHORIZED = "unauthorized"
    WRONG_ADDRESS = "wrong-address"
    REJECTIONS = "rejections"
    UNDECODABLE = "undecodable"
    DEAD_LETTER_REFUSED = "dead-letter-refused"
    IDENTITY_REFUSED = "identity-refused"
    COMMIT_REFUSED = "commit-refused"


_VERDICTS = {
    **dict.fromkeys((408, 425, 429), Verdict.NOT_NOW),
    413: Verdict.TOO_BIG,
    **dict.fromkeys((400, 422), Verdict.BAD),
    **dict.fromkeys((401, 403), Verdict.FORBIDDEN),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request.

    `status` is None where no answer came: `failure` then says why (`timeout` or `no-answer`, the words of the metrics)
    and `body` what the network said. `started_at` and `ended_at` are on the loop's monotonic clock, in seconds.
    `retry_after` is in seconds, None where the header is missing, unreadable or 0. `body` is at most 1,024 characters.
    """

    status: int | None
    started_at: float
    ended_at: float
    body: str = ""
    retry_after: float | None = None
    failure: str = ""

    @property
    def label(self) -> str:
        """The word for this answer in `requests_total` and `retries_total`."""
        return str(self.status) if self.status is not None else self.failure

    @property
    def verdict(self) -> Verdict:
        if self.status is None or self.status >= 500:
            return Verdict.NOT_NOW
        if 200 <= self.status < 300:
            return Verdict.TAKEN
        return _VERDICTS.get(self.status, Verdict.WRONG_ADDRESS)
