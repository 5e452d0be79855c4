import pytest

from worker.core.mapping import Entry, EventMapping, Selection, snake_case
from worker.core.outcomes import Reason

B2B_SAAS = {
    "Signed Up": "sign_up",
    "Logged In": "login",
    "Lead Generated": "lead_generated",
    "Form Submitted": "form_submitted",
    "Content Viewed": "content_viewed",
    "Trial Started": "trial_started",
    "Subscription Started": "subscription_started",
}
DEFAULT = {"Signed Up": "sign_up", "Lead Generated": "lead_generated", "Order Completed": "order_completed"}


@pytest.mark.parametrize(
    ("variant", "name", "target"),
    [("b2b_saas", *pair) for pair in B2B_SAAS.items()] + [("default", *pair) for pair in DEFAULT.items()],
)
def test_every_event_of_a_variant_is_mapped_under_both_its_names(variant: str, name: str, target: str) -> None:
    mapping = EventMapping(variant)

    assert (mapping.track(name), mapping.track(target)) == (target, target)


@pytest.mark.parametrize(
    ("variant", "name"), [("default", "Logged In"), ("default", "login"), ("b2b_saas", "Order Completed")]
)
def test_what_belongs_to_the_other_variant_is_unmapped(variant: str, name: str) -> None:
    assert EventMapping(variant).track(name) is Reason.UNMAPPED


@pytest.mark.parametrize(
    "name", ["signed_up", "Signed-Up", "SIGNED UP", "signedUp", " signed  up ", "SIGN-UP", "signup"]
)
def test_case_spaces_underscores_and_hyphens_make_no_difference(name: str) -> None:
    assert EventMapping("b2b_saas").track(name) == "sign_up"


def test_a_table_adds_an_event_under_both_its_names() -> None:
    mapping = EventMapping("b2b_saas", {"Demo Booked": "demo_requested"})

    assert mapping.track("demo-booked") == mapping.track("demo_requested") == "demo_requested"
    assert "demo_requested" in mapping.targets


@pytest.mark.parametrize("configured", ["Signed Up", "sign_up"])
@pytest.mark.parametrize("name", ["Signed Up", "sign_up", "registered"])
def test_a_table_renames_an_event_under_all_its_names(configured: str, name: str) -> None:
    mapping = EventMapping("b2b_saas", {configured: "registered"})

    assert mapping.track(name) == "registered"
    assert "sign_up" not in mapping.targets


@pytest.mark.parametrize("configured", ["Logged In", "login", "LOGGED_IN"])
@pytest.mark.parametrize("name", ["Logged In", "login", "logged-in"])
@pytest.mark.parametrize("forward_unmapped", [False, True])
def test_what_is_switched_off_is_so_under_both_its_names_and_is_never_forwarded(
    configured: str, name: str, *, forward_unmapped: bool
) -> None:
    mapping = EventMapping("b2b_saas", {configured: False}, forward_unmapped=forward_unmapped)

    assert mapping.track(name) is Reason.SWITCHED_OFF


def test_an_unmapped_event_is_forwarded_under_its_snake_case_name() -> None:
    assert EventMapping("b2b_saas", forward_unmapped=True).track("Webinar Joined!") == "webinar_joined"


def test_pages_can_be_switched_off() -> None:
    assert EventMapping("b2b_saas").page is None
    assert EventMapping("b2b_saas", {"Page": False}).page is Reason.SWITCHED_OFF


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Demo Booked", "demo_booked"),
        ("DemoBooked", "demo_booked"),
        ("demo--booked", "demo_booked"),
        ("HTTPRequest2", "http_request2"),
        ("  a / b  ", "a_b"),
        ("__x__", "x"),
        ("Plan2Upgraded", "plan2_upgraded"),
        ("Größe Geändert", "größe_geändert"),
        ("!!!", ""),
    ],
)
def test_snake_case_splits_at_case_and_at_everything_but_letters_and_digits(name: str, expected: str) -> None:
    assert snake_case(name) == expected


def test_the_table_of_a_variant_is_its_own() -> None:
    assert EventMapping("default").entries == tuple(Entry(*pair, configured=False) for pair in DEFAULT.items())


def test_the_table_shows_what_was_added_renamed_and_switched_off_under_signals_name() -> None:
    mapping = EventMapping("default", {"Demo Booked": "demo_booked", "sign_up": "registered", "lead-generated": False})

    assert mapping.entries == (
        Entry("Order Completed", "order_completed", configured=False),
        Entry("Demo Booked", "demo_booked", configured=True),
        Entry("Signed Up", "registered", configured=True),
        Entry("Lead Generated", "", configured=True),
    )


def selection(*names: str, forward_identify: bool = False) -> Selection:
    return Selection(names, EventMapping("b2b_saas", {"Logged In": False}), forward_identify=forward_identify)


@pytest.mark.parametrize("written", ["Lead Generated", "lead_generated", "Lead-Generated", "LEADGENERATED"])
def test_an_event_is_selected_by_either_name_however_it_is_written(written: str) -> None:
    chosen = selection(written)

    assert chosen.takes("track", "Lead Generated")
    assert chosen.takes("track", "lead_generated")
    assert not chosen.takes("track", "Signed Up")
    assert not chosen.takes("page", None)
    assert not chosen.takes("track", None)


def test_a_type_is_selected_by_its_name() -> None:
    chosen = selection("page", "Identify", forward_identify=True)

    assert (chosen.takes("page", None), chosen.takes("identify", None)) == (True, True)
    assert not chosen.takes("track", "page")


def test_names_by_which_nothing_is_sent_are_strange() -> None:
    assert selection("Lead Genrated", "Logged In", "identify", "group", "page", " ").strange == [
        "Lead Genrated",
        "Logged In",
        "identify",
        "group",
        " ",
    ]
