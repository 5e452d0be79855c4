"""Whatever an event holds: what is masked does not give the text away, and what is left has the event's own shape."""

import re

from hypothesis import assume, example, given
from hypothesis import strategies as st

from worker.masking import MASK, masked, masked_event, masked_text

texts = st.text(max_size=60) | st.emails() | st.from_regex(r"[a-z]{1,3}@[a-z]\.[a-z]{1,3}", fullmatch=True)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)
ALREADY_MASKED = re.compile(r".?\*+|[^@]\*{3}@[^@]\*{3}\.[^@.]+|[^@]?\*{3}.*", re.DOTALL)


def shape(value: object) -> object:
    """The value with every text replaced by its kind."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return str if isinstance(value, str) else repr(value)


def texts_in(value: object) -> set[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return {text for inner in value for text in texts_in(inner)}
    return {value} if isinstance(value, str) else set()


@given(texts)
@example("a@b.com")
@example("jane@a.b")
def test_no_masked_text_holds_the_original(text: str) -> None:
    assume(len(text) >= 3 and not ALREADY_MASKED.fullmatch(text))
    assert text not in masked_text(text)


@given(texts)
def test_a_masked_text_tells_no_more_than_two_letters_and_an_ending(text: str) -> None:
    ending = 10
    assert len(masked_text(text).replace(MASK, "")) <= len("ja@.") + ending


@given(values)
def test_structure_names_numbers_and_booleans_stay(value: object) -> None:
    assert shape(masked(value)) == shape(value)


@given(st.dictionaries(st.sampled_from(["userId", "groupId", "properties", "traits", "name"]), values))
def test_no_text_of_an_event_gets_through_outside_the_fields_known_as_harmless(event: dict[str, object]) -> None:
    kept = {text for text in texts_in(event) & texts_in(masked_event(event)) if len(text) >= 3}
    assert {text for text in kept if not ALREADY_MASKED.fullmatch(text)} == set()
