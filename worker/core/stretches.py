"""A partition's part of a run that ends by itself (a replay, say): from where to where, and what has become of it.

It travels as the metadata of every commit, so that the group's offsets tell all there is to know of the run, whichever
process asks. No look-ups and no files; what a run was asked for is its own words, and nothing here reads them.
"""

from collections.abc import Mapping

import msgspec

from worker.core.outcomes import Outcome, Reason

# org.apache.kafka's `offset.metadata.max.bytes` as brokers have it by default.
MAX_METADATA_BYTES = 4_096
# What the counts of all reasons and two offsets of nineteen digits take at most: left for them, whatever was asked for.
MAX_ASKED_BYTES = MAX_METADATA_BYTES - 1_024

Asked = dict[str, str | list[str]]


class Stretch(msgspec.Struct, frozen=True, omit_defaults=True):
    """`[first_offset, end_offset)` of one partition.

    `asked` is what the whole run was asked for, the same in every partition. `counted` has the records that are
    committed, by outcome and reason (`filtered/no-consent`), over all processes of the run; `lost` the offsets that
    were deleted before they were read; `unknown` the visitors of whom nothing could be found out as of its beginning,
    although something was known later.
    """

    first_offset: int
    end_offset: int
    asked: Asked = {}
    counted: dict[str, int] = {}
    lost: int = 0
    unknown: int = 0

    @property
    def offsets(self) -> int:
        """How many there are in it: gaps and transaction markers count as well."""
        return self.end_offset - self.first_offset

    def after(self, outcomes: Mapping[tuple[Outcome, Reason], int]) -> "Stretch":
        """With these committed as well."""
        counted = dict(self.counted)
        for (outcome, reason), count in outcomes.items():
            name = f"{outcome}/{reason}" if reason else outcome.value
            counted[name] = counted.get(name, 0) + count
        return msgspec.structs.replace(self, counted=counted)

    def without(self, lost: int) -> "Stretch":
        """With so many offsets deleted unread."""
        return msgspec.structs.replace(self, lost=self.lost + lost)

    def unsure_of(self, visitors: int) -> "Stretch":
        """With so many visitors of whom nothing could be found out."""
        return msgspec.structs.replace(self, unknown=visitors)

    def text(self) -> str:
        """The metadata of a commit: JSON, for other Kafka tools to show."""
        return _encode(self).decode()


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Stretch).decode


def stretch_of(metadata: str) -> Stretch | None:
    """None where somebody else has committed this: a tool that moved the group, say."""
    try:
        return _decode(metadata)
    except msgspec.MsgspecError:
        return None
