import pytest

from worker.core.consent import Consent
from worker.core.outcomes import Reason


@pytest.mark.parametrize("given", [None, {}, {"marketing": True}], ids=["nothing", "empty", "another category"])
def test_a_category_that_is_missing_is_not_granted(given: dict[str, object] | None) -> None:
    assert Consent(["analytics"]).judge(given) is Reason.NO_CONSENT


@pytest.mark.parametrize("value", [1, 1.0, "true", "granted", None, 0, "", [True], {"granted": True}], ids=repr)
def test_only_the_boolean_true_grants(value: object) -> None:
    assert Consent(["analytics"]).judge({"analytics": value}) is Reason.NO_CONSENT


def test_an_explicit_false_is_denied() -> None:
    assert Consent(["analytics"]).judge({"analytics": False}) is Reason.CONSENT_DENIED


@pytest.mark.parametrize("categories", [["analytics", "marketing"], ["marketing", "analytics"]], ids=str)
def test_denied_wins_over_missing_in_any_order(categories: list[str]) -> None:
    assert Consent(categories).judge({"marketing": False}) is Reason.CONSENT_DENIED


def test_all_categories_must_be_granted() -> None:
    consent = Consent(["analytics", "marketing"])

    assert consent.judge({"analytics": True, "marketing": True}) is None
    assert consent.judge({"analytics": True}) is Reason.NO_CONSENT


@pytest.mark.parametrize("given", [None, {}, {"essential": False}], ids=repr)
def test_essential_is_always_granted(given: dict[str, object] | None) -> None:
    assert Consent(["essential"]).judge(given) is None


def test_no_category_switches_the_check_off() -> None:
    assert Consent([]).judge({"analytics": False}) is None


def test_a_category_that_is_not_required_plays_no_part() -> None:
    assert Consent(["analytics"]).judge({"analytics": True, "marketing": False}) is None
