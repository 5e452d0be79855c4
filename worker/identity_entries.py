"""An entry of the identity log as a Kafka record, and back (DESIGN §3, "Identity log"). No client."""

from collections.abc import Mapping

from worker.core.identity import IdentityChange, is_state
from worker.core.records import Headers
from worker.core.restoring import Entry

SOURCE_OFFSET = "source-offset"
SOURCE_TOPIC_ID = "source-topic-id"
FORGOTTEN_UNTIL = "forgotten-until"
OPERATOR = "operator"


class EntryError(Exception):
    """Reject: this record is no entry of an identity log. It is skipped and counted."""


def headers_of(change: IdentityChange, topic_id: str) -> Headers:
    """All text. An operator's word goes along with every later entry of its visitor, because compaction keeps only the
    last one.
    """
    headers = [(SOURCE_OFFSET, str(change.offset)), (SOURCE_TOPIC_ID, topic_id)]
    if change.forgotten_until:
        headers.append((FORGOTTEN_UNTIL, str(change.forgotten_until)))
    return tuple((name, text.encode()) for name, text in headers)


def headers_by_hand(end_offset: int, topic_id: str) -> Headers:
    """Of the tombstone that an operator writes: forget this visitor, and what the source holds below `end_offset`."""
    return ((OPERATOR, str(end_offset).encode()), (SOURCE_TOPIC_ID, topic_id.encode()))


def entry_of(key: bytes | None, value: bytes | None, headers: Headers) -> Entry:
    """Raises EntryError where the record is none, or is damaged."""
    texts = dict(headers)
    try:
        visitor = (key or b"").decode()
        topic_id = (texts.get(SOURCE_TOPIC_ID) or b"").decode()
    except UnicodeDecodeError:
        raise EntryError("a key or topic id that is no UTF-8") from None
    if not visitor.startswith(("a:", "u:")):
        raise EntryError("a key that is no visitor")
    if OPERATOR in texts:
        if value is not None:
            raise EntryError("an operator's record that is no tombstone")
        return Entry(visitor, None, 0, topic_id, _number(texts, OPERATOR), by_hand=True)
    if value is not None and not is_state(value):
        raise EntryError("a state that cannot be read")
    until = _number(texts, FORGOTTEN_UNTIL) if FORGOTTEN_UNTIL in texts else 0
    return Entry(visitor, value, _number(texts, SOURCE_OFFSET), topic_id, until)


def _number(texts: Mapping[str, bytes | None], name: str) -> int:
    text = texts.get(name) or b""
    if not text.isdigit() or len(text) > 19:
        raise EntryError(f"a header {name} that is no offset")
    return int(text)
