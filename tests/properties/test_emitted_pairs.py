"""Whatever JSON somebody writes on the command line is either refused, or read by the worker as it was written."""

import json
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.builders_avro import SHIPPED_SCHEMA_FILE, framing_of_shipped
from worker.emit.events import call_of, event_of
from worker.emit.pairs import MAX_LEVELS
from worker.encoding import single_object_encoder
from worker.errors import SettingsError
from worker.schema_directory import load_directory

PLAN = load_directory(SHIPPED_SCHEMA_FILE.parent)[framing_of_shipped()]
HEADER_BYTES = 10
encode = single_object_encoder(SHIPPED_SCHEMA_FILE.read_text())

texts = st.text(max_size=8)
edges = st.sampled_from([-(2**63) - 1, -(2**63), 2**63 - 1, 2**63, 1.8e308, float("inf"), float("nan")])
scalars = st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats() | texts
trees = st.recursive(scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2))


def wrapped(value: Any, kinds: list[type]) -> Any:
    for kind in kinds:
        value = {"inner": value} if kind is dict else [value]
    return value


# a recursive strategy by itself rarely goes this deep, and rarely to the edges
values = trees | st.builds(wrapped, trees | edges, st.lists(st.sampled_from([list, dict]), max_size=7))


def levels(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(levels, inner), default=0)


def holds_only_what_fits(value: Any) -> bool:
    match value:
        case float():
            return abs(value) < float("inf")
        case bool():
            return True
        case int():
            return -(2**63) <= value < 2**63
        case list():
            return all(map(holds_only_what_fits, value))
        case dict():
            return all(map(holds_only_what_fits, value.values()))
    return True


@given(value=values)
def test_a_value_is_refused_or_comes_out_of_kafka_as_it_was_written(value: Any) -> None:
    fits = levels(value) <= MAX_LEVELS and holds_only_what_fits(value)
    read = None
    with suppress(SettingsError):
        call = call_of("page", [f"k:={json.dumps(value)}"], "df_1", "")
        read = PLAN.read(encode(event_of(call, "evt_1", 0, [])), HEADER_BYTES).properties
    assert read == ({"k": value} if fits else None)
