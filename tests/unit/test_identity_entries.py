import pytest

from worker.core.identity import IdentityChange
from worker.core.records import Headers
from worker.core.restoring import Entry
from worker.identity_entries import EntryError, entry_of, headers_by_hand, headers_of

STATE = b'["user-1",1780744274000,{"email":"jane.doe@acme.com"}]'
HEADERS: Headers = ((("source-offset"), b"5"), ("source-topic-id", b"id-1"))


@pytest.mark.parametrize("state", [STATE, None], ids=["state", "tombstone"])
@pytest.mark.parametrize("until", [0, 3])
def test_a_change_comes_back_as_it_was_written(state: bytes | None, until: int) -> None:
    change = IdentityChange(5, "a:jane", state, until)

    assert entry_of(b"a:jane", state, headers_of(change, "id-1")) == Entry("a:jane", state, 5, "id-1", until)


def test_an_operator_s_tombstone_says_up_to_where() -> None:
    assert entry_of(b"u:jane", None, headers_by_hand(7, "id-1")) == Entry("u:jane", None, 0, "id-1", 7, by_hand=True)


@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [
        pytest.param(None, STATE, HEADERS, id="no-key"),
        pytest.param(b"jane", STATE, HEADERS, id="no-visitor"),
        pytest.param(b"a:\xff", STATE, HEADERS, id="key-no-utf-8"),
        pytest.param(b"a:jane", STATE[:-3], HEADERS, id="truncated"),
        pytest.param(b"a:jane", b" " + STATE, HEADERS, id="ready-to-ride"),
        pytest.param(b"a:jane", b"", HEADERS, id="empty"),
        pytest.param(b"a:jane", b"\xff\xfe", HEADERS, id="garbage"),
        pytest.param(b"a:jane", b"[" * 100_000, HEADERS, id="deep"),
        pytest.param(b"a:jane", STATE, (), id="no-headers"),
        pytest.param(b"a:jane", STATE, (("source-offset", b"-5"),), id="negative-offset"),
        pytest.param(b"a:jane", STATE, (("source-offset", b"9" * 5_000),), id="absurd-offset"),
        pytest.param(b"a:jane", STATE, (("source-offset", None),), id="null-offset"),
        pytest.param(b"a:jane", STATE, (*HEADERS, ("operator", b"1")), id="operator-with-a-value"),
        pytest.param(b"a:jane", None, (("operator", b"soon"),), id="operator-without-offset"),
    ],
)
def test_what_is_no_entry_is_named_and_nothing_else_is_raised(
    key: bytes | None, value: bytes | None, headers: Headers
) -> None:
    with pytest.raises(EntryError):
        entry_of(key, value, headers)
