import msgspec
import pytest

from tests.builders import TIME_MS, TTL_MS
from worker.core.identity import MAX_STATE_BYTES, Identities, IdentityChange, Known, visitor_of

VISITOR = "a:df_8f2a1c9e"
JANE = {"email": "jane.doe@acme.com", "name": "Jane Doe"}


def jane() -> Identities:
    identities = Identities(TTL_MS)
    identities.learn(VISITOR, "user-123", dict(JANE), at_ms=TIME_MS, offset=1)
    return identities


def traits(identities: Identities, user_id: str | None = "user-123", at_ms: int = TIME_MS) -> dict[str, object]:
    riding = identities.traits_for(VISITOR, user_id, dict, at_ms=at_ms, offset=9)
    return {} if riding is None else msgspec.json.decode(riding, type=dict[str, object])


def test_traits_merge_and_newer_wins() -> None:
    identities = jane()
    identities.learn(VISITOR, "user-123", {"name": "Jane", "company": "Acme Inc"}, at_ms=TIME_MS, offset=2)

    assert traits(identities) == {"email": "jane.doe@acme.com", "name": "Jane", "company": "Acme Inc"}


def test_null_removes_a_trait() -> None:
    identities = jane()
    identities.learn(VISITOR, "user-123", {"name": None}, at_ms=TIME_MS, offset=2)

    assert traits(identities) == {"email": "jane.doe@acme.com"}


def test_another_user_replaces_everything_known() -> None:
    identities = jane()
    identities.learn(VISITOR, "user-456", {"company": "Acme Inc"}, at_ms=TIME_MS, offset=2)

    assert traits(identities, "user-456") == {"company": "Acme Inc"}
    assert traits(identities, "user-123") == {}


def test_an_identify_without_a_user_keeps_the_user() -> None:
    identities = jane()
    identities.learn(VISITOR, None, {"company": "Acme Inc"}, at_ms=TIME_MS, offset=2)

    assert traits(identities, "user-456") == {}
    assert len(traits(identities)) == 3


def test_traits_of_one_user_never_go_to_another() -> None:
    assert traits(jane(), "user-456") == {}


@pytest.mark.parametrize("user_id", [None, "user-123"])
def test_traits_go_to_the_same_user_and_to_events_without_one(user_id: str | None) -> None:
    assert traits(jane(), user_id) == JANE


def test_an_anonymous_id_is_not_the_user_id_of_the_same_letters() -> None:
    assert visitor_of("x", None) != visitor_of(None, "x")


@pytest.mark.parametrize(
    ("anonymous_id", "user_id", "expected"),
    [("a", "u", "a:a"), (None, "u", "u:u"), ("", "u", "u:u"), (None, None, None), ("", "", None)],
)
def test_the_anonymous_id_comes_first(anonymous_id: str | None, user_id: str | None, expected: str | None) -> None:
    assert visitor_of(anonymous_id, user_id) == expected


@pytest.mark.parametrize(("age_ms", "known"), [(TTL_MS, True), (TTL_MS + 1, False)], ids=["in time", "too old"])
def test_a_visitor_expires_by_event_time(age_ms: int, *, known: bool) -> None:
    identities = jane()

    assert bool(traits(identities, at_ms=TIME_MS + age_ms)) is known
    assert len(identities) == (1 if known else 0)


def test_a_visitor_expires_by_its_own_events_alone() -> None:
    """Others' events tell nothing of how late its own may come; what is forgotten because of them would depend on who
    else is remembered.
    """
    identities = jane()
    identities.learn("a:other", "user-9", dict(JANE), at_ms=TIME_MS + 9 * TTL_MS, offset=2)
    assert identities.traits_for("a:other", None, dict, at_ms=TIME_MS + 9 * TTL_MS, offset=3) is not None

    assert traits(identities) == JANE


def test_expiry_is_a_change_at_the_offset_of_the_event_that_showed_it() -> None:
    identities = jane()
    identities.changes.clear()
    traits(identities, at_ms=TIME_MS + TTL_MS + 1)

    assert identities.changes == [IdentityChange(9, VISITOR, None)]


def test_an_identify_after_the_time_to_live_begins_anew() -> None:
    identities = jane()
    later = TIME_MS + TTL_MS + 1
    identities.learn(VISITOR, "user-123", {"company": "Acme Inc"}, at_ms=later, offset=2)

    assert traits(identities, at_ms=later) == {"company": "Acme Inc"}


def test_a_forgotten_visitor_is_a_change_without_a_state() -> None:
    identities = jane()
    identities.changes.clear()
    identities.forget(VISITOR, offset=5)
    identities.forget(VISITOR, offset=6)

    assert identities.changes == [IdentityChange(5, VISITOR, None)]
    assert traits(identities) == {}


def test_a_trait_that_would_pass_32_kb_is_not_learned_and_counted() -> None:
    identities = jane()
    identities.learn(VISITOR, "user-123", {"company": "x" * MAX_STATE_BYTES}, at_ms=TIME_MS, offset=2)

    assert traits(identities) == JANE
    assert identities.traits_refused == 1


def test_no_state_is_larger_than_32_kb() -> None:
    identities = jane()
    for offset in range(2, 60):
        identities.learn(VISITOR, "user-123", {f"trait {offset}": "é" * 1_000}, at_ms=TIME_MS, offset=offset)

    assert max(len(change.state or b"") for change in identities.changes) <= MAX_STATE_BYTES
    assert identities.traits_refused > 0


def test_a_state_read_back_is_the_state_that_was_written() -> None:
    written = {change.visitor: change.state or b"" for change in jane().changes}

    assert traits(Identities(TTL_MS, Known(written, {}))) == JANE


def test_a_change_holds_the_whole_state_as_json() -> None:
    assert msgspec.json.decode(jane().changes[-1].state or b"") == ["user-123", TIME_MS, JANE]


def email_alone(known: dict[str, object]) -> dict[str, object]:
    return {"email": known["email"]}


def test_what_rides_is_what_is_chosen_each_time_and_what_is_not_chosen_is_not_forgotten() -> None:
    identities = jane()
    for _ in range(3):
        riding = identities.traits_for(VISITOR, None, email_alone, at_ms=TIME_MS, offset=2)
        assert riding is not None
        assert bytes(riding) == b'{"email":"jane.doe@acme.com"}'
    identities.learn(VISITOR, None, {"company": "Acme Inc"}, at_ms=TIME_MS, offset=3)

    assert traits(identities) == {**JANE, "company": "Acme Inc"}


def test_a_visitor_who_is_known_by_an_id_alone_gives_no_traits() -> None:
    identities = jane()
    identities.learn(VISITOR, None, {"email": None, "name": None}, at_ms=TIME_MS, offset=2)

    assert identities.traits_for(VISITOR, None, dict, at_ms=TIME_MS, offset=3) is None
    assert len(identities) == 1


def test_what_goes_into_the_log_says_nothing_of_what_has_ridden() -> None:
    identities = Identities(TTL_MS)
    identities.forget_by_hand(VISITOR, until=8)
    identities.learn(VISITOR, "user-123", dict(JANE), at_ms=TIME_MS, offset=9)
    traits(identities)

    assert {change.state for change in identities.take_changes(9)} == {jane().changes[-1].state}


def test_an_identify_that_leaves_nothing_forgets_the_visitor() -> None:
    identities = Identities(TTL_MS)
    identities.learn(VISITOR, None, {"email": "jane.doe@acme.com"}, at_ms=TIME_MS, offset=1)
    identities.learn(VISITOR, None, {"email": None}, at_ms=TIME_MS, offset=2)

    assert len(identities) == 0


def test_a_trait_too_large_to_learn_leaves_what_was_known_of_it() -> None:
    identities = Identities(TTL_MS)
    identities.learn("a:x", "user-1", {"name": "Jane Doe"}, at_ms=1, offset=1)
    identities.learn("a:x", "user-1", {"name": "J" * MAX_STATE_BYTES}, at_ms=2, offset=2)

    assert identities.traits_for("a:x", "user-1", dict, at_ms=3, offset=3) == msgspec.Raw(b'{"name":"Jane Doe"}')
    assert identities.traits_refused == 1


def test_what_an_operator_had_forgotten_is_gone_at_once_and_answered_with_the_next_record() -> None:
    identities = jane()
    identities.take_changes(1)
    identities.forget_by_hand(VISITOR, until=8)
    identities.forget_by_hand(VISITOR, until=8)

    assert traits(identities) == {}
    assert identities.take_changes(4) == [IdentityChange(4, VISITOR, None, 8)]
    assert not identities.changed


def test_an_identify_from_before_an_operator_s_word_is_not_learned() -> None:
    identities = jane()
    identities.forget_by_hand(VISITOR, until=8)
    identities.learn(VISITOR, "user-123", dict(JANE), at_ms=TIME_MS, offset=7)
    assert traits(identities) == {}

    identities.learn(VISITOR, "user-123", dict(JANE), at_ms=TIME_MS, offset=8)
    assert traits(identities) == JANE


def test_an_operator_s_word_goes_along_with_every_later_change_of_its_visitor() -> None:
    identities = Identities(TTL_MS, Known({}, {VISITOR: 8}))
    identities.learn(VISITOR, "user-123", dict(JANE), at_ms=TIME_MS, offset=9)
    identities.learn("a:other", "user-9", dict(JANE), at_ms=TIME_MS, offset=10)

    assert [change.forgotten_until for change in identities.take_changes(10)] == [8, 0]
