import pytest

from worker.emit.events import ANONYMOUS_ID, Call, call_of, epoch_ms, event_of
from worker.errors import SettingsError


def call(kind: str, *words: str, anonymous_id: str = "df_1", user_id: str = "") -> Call:
    return call_of(kind, words, anonymous_id, user_id)


def problems(kind: str, *words: str, anonymous_id: str = "df_1", user_id: str = "") -> list[str]:
    with pytest.raises(SettingsError) as raised:
        call(kind, *words, anonymous_id=anonymous_id, user_id=user_id)
    return raised.value.problems


@pytest.mark.parametrize(
    ("made", "fields"),
    [
        pytest.param(
            call("track", "Lead Generated", "value:=0"),
            {"type": "track", "event": "Lead Generated", "properties": {"value": 0}, "userId": None},
            id="track",
        ),
        pytest.param(
            call("page", "Pricing", "plan=team", user_id="user-123"),
            {"type": "page", "name": "Pricing", "properties": {"plan": "team"}, "userId": "user-123"},
            id="page",
        ),
        pytest.param(call("page"), {"type": "page", "name": None, "properties": {}}, id="page-without-a-name"),
        pytest.param(
            call("identify", "user-123", "email=jane.doe@acme.com"),
            {"type": "identify", "userId": "user-123", "traits": {"email": "jane.doe@acme.com"}},
            id="identify",
        ),
        pytest.param(
            call("identify", "email=jane.doe@acme.com"),
            {"type": "identify", "userId": None, "traits": {"email": "jane.doe@acme.com"}},
            id="identify-without-a-user",
        ),
        pytest.param(
            call("identify", "email=jane.doe@acme.com", user_id="user=1"),
            {"type": "identify", "userId": "user=1"},
            id="identify-with-the-user-as-an-option",
        ),
        pytest.param(
            call("group", "acme-inc", "employees:=120", user_id="user-123"),
            {"type": "group", "groupId": "acme-inc", "traits": {"employees": 120}, "userId": "user-123"},
            id="group",
        ),
    ],
)
def test_a_call_becomes_the_event_signal_makes_of_it(made: Call, fields: dict[str, object]) -> None:
    event = event_of(made, "evt_1", 1_780_744_274_000, ["marketing"])
    every = {"messageId": "evt_1", "anonymousId": "df_1", "timestamp": 1_780_744_274_000}
    assert event == event | every | fields
    assert ("properties" in event) != ("traits" in event)


def test_what_is_granted_stands_beside_what_always_is() -> None:
    event = event_of(call("page"), "evt_1", 0, ["analytics", "marketing"])
    context = event["context"]
    assert isinstance(context, dict)
    assert context["consent"] == {"canonical": {"essential": True, "analytics": True, "marketing": True}}


def test_no_channel_is_credited_with_a_test_event() -> None:
    context = event_of(call("page"), "evt_1", 0, [])["context"]
    assert isinstance(context, dict)
    assert "campaign" not in context
    assert context["page"]["referrer"].startswith("https://www.example.com")


@pytest.mark.parametrize(
    ("made", "visitor"),
    [
        pytest.param(call("page", anonymous_id=ANONYMOUS_ID), ANONYMOUS_ID, id="anonymousId"),
        pytest.param(call("page", anonymous_id="df_1", user_id="user-123"), "df_1", id="anonymousId-before-userId"),
        pytest.param(call("page", anonymous_id="", user_id="user-123"), "user-123", id="userId"),
    ],
)
def test_the_key_is_the_visitor(made: Call, visitor: str) -> None:
    assert made.visitor == visitor


@pytest.mark.parametrize("kind", ["track", "group"])
@pytest.mark.parametrize("words", [(), ("form_id=demo",), ("",)], ids=["nothing", "pair", "empty"])
def test_a_call_that_needs_a_name_says_so(kind: str, words: tuple[str, ...]) -> None:
    assert f"{kind} needs its" in problems(kind, *words)[0]


def test_nobody_s_event_is_refused() -> None:
    assert "nobody's" in problems("page", anonymous_id="")[0]


def test_two_user_ids_are_refused() -> None:
    assert "given twice" in problems("identify", "user-1", user_id="user-2")[0]


def test_a_name_that_is_not_utf_8_is_refused() -> None:
    assert "not UTF-8" in problems("track", "\udcff")[0]


def test_all_problems_are_said_at_once() -> None:
    assert len(problems("track", "a:=x", "b", anonymous_id="")) == 4


@pytest.mark.parametrize(
    ("moment", "milliseconds"),
    [
        pytest.param("2026-06-06T11:11:14Z", 1_780_744_274_000, id="utc"),
        pytest.param("2026-06-06T13:11:14.123999+02:00", 1_780_744_274_123, id="cut-not-rounded"),
        pytest.param("0001-01-01T00:00:00Z", -62_135_596_800_000, id="first"),
    ],
)
def test_a_moment_is_read_with_its_zone(moment: str, milliseconds: int) -> None:
    assert epoch_ms(moment) == milliseconds


@pytest.mark.parametrize(("moment", "words"), [("2026-06-06T11:11:14", "no zone"), ("today", "no ISO-8601 moment")])
def test_a_moment_that_says_too_little_is_refused(moment: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        epoch_ms(moment)
