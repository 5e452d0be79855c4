import pytest

from worker.emit.pairs import MAX_LEVELS, fields_of
from worker.errors import SettingsError


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def problems(*words: str) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        fields_of(words)
    return raised.value.problems


@pytest.mark.parametrize(
    ("word", "value"),
    [
        pytest.param("k=demo", "demo", id="text"),
        pytest.param("k=0", "0", id="text-of-digits"),
        pytest.param("k=", "", id="empty-text"),
        pytest.param("k=a=b:=c", "a=b:=c", id="the-first-equals-sign-ends-the-key"),
        pytest.param("k:=0", 0, id="whole-number"),
        pytest.param("k:=49.5", 49.5, id="number"),
        pytest.param("k:=false", False, id="boolean"),
        pytest.param("k:=null", None, id="null"),
        pytest.param('k:="0"', "0", id="text-as-json"),
        pytest.param('k:=[{"sku": "a-1"}]', [{"sku": "a-1"}], id="nested"),
        pytest.param(f"k:={2**63 - 1}", 2**63 - 1, id="largest-long"),
        pytest.param(f"k:={-(2**63)}", -(2**63), id="smallest-long"),
    ],
)
def test_a_pair_is_text_or_with_a_colon_json(word: str, value: object) -> None:
    assert fields_of([word]) == {"k": value}
    assert type(fields_of([word])["k"]) is type(value)


def test_keys_keep_their_order() -> None:
    assert list(fields_of(["b=1", "a=2"])) == ["b", "a"]


def test_the_deepest_value_of_the_schema_is_taken_and_one_level_more_refused() -> None:
    assert fields_of([f"k:={nested(MAX_LEVELS)}"])
    assert "nested deeper" in problems(f"k:={nested(MAX_LEVELS + 1)}")[0]


@pytest.mark.parametrize(
    ("word", "words"),
    [
        pytest.param("k", "neither key=text nor key:=json", id="no-pair"),
        pytest.param("=v", "neither key=text nor key:=json", id="no-key"),
        pytest.param(":=1", "neither key=text nor key:=json", id="no-key-before-json"),
        pytest.param("k:=jane", "k is no JSON", id="no-json"),
        pytest.param("k:=", "k is no JSON", id="empty-json"),
        pytest.param("k:=NaN", "k holds NaN", id="nan"),
        pytest.param("k:=[1e999]", "k holds NaN, or a number too large", id="infinity"),
        pytest.param(f"k:={2**63}", "k holds a whole number beyond 64 bits", id="beyond-a-long"),
        pytest.param(f"k:=[{-(2**63) - 1}]", "k holds a whole number beyond 64 bits", id="below-a-long"),
        pytest.param(f"k:={nested(100_000)}", "k is nested deeper", id="deeper-than-json-can-be-read"),
        pytest.param(r'k:="\ud800"', "k holds half a surrogate pair", id="half-a-pair"),
        pytest.param(r'k:={"\ud800": 1}', "k holds half a surrogate pair", id="half-a-pair-as-a-name"),
        pytest.param("k=\udcff", "k holds half a surrogate pair, or bytes that are not UTF-8", id="not-utf-8"),
    ],
)
def test_what_the_schema_cannot_hold_is_refused(word: str, words: str) -> None:
    (problem,) = problems(word)
    assert words in problem


def test_a_key_given_twice_is_refused() -> None:
    assert "k is given twice" in problems("k=1", "k:=2")[0]


def test_all_problems_are_said_at_once_and_none_repeats_a_value() -> None:
    found = problems("email:=jane.doe@acme.com", "fine=yes", "jane.doe@acme.com")
    assert len(found) == 2
    assert not any("jane" in problem for problem in found)
