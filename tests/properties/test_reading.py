"""The reader made once per schema and fastavro, for all of Avro: one must see what the other sees."""

import json
from contextlib import suppress
from typing import Any

import fastavro
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests import oracle
from tests.builders import SCHEMA, TP, TTL_MS, policy, record
from tests.builders_avro import shipped_schema
from tests.properties.avro_strategies import BodyMaker, event_schemas, schemas
from worker.core.avro.reading import reader
from worker.core.avro.skipping import skipper
from worker.core.batching import Item
from worker.core.decisions import Decider
from worker.core.decoding import DecodeError, plan
from worker.core.identity import Identities
from worker.core.schema_facts import Survey
from worker.demo.site import recorded
from worker.encoding import single_object_encoder

# drawing a schema and bytes for it takes longer than reading them
drawn_twice = settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def parsed(schema: Any) -> tuple[Any, dict[str, Any], Survey]:
    names: dict[str, Any] = {}
    result: Any = fastavro.parse_schema(schema, names)
    survey = Survey(result, names)
    # no plan is made for these
    assume(not survey.bomb)
    return result, names, survey


@drawn_twice
@given(schemas(), st.data())
def test_a_value_is_read_as_fastavro_reads_it_and_skipped_as_far(schema: Any, data: st.DataObject) -> None:
    schema, names, survey = parsed(schema)
    body = data.draw(st.composite(lambda draw: BodyMaker(draw, names).of(schema))())
    padded = b"\x00\x00" + body + b"\x02"

    value, end = reader(names, survey.recursive).of(schema)(padded, 2)

    expected, length = oracle.value_of(schema, body)
    assert (repr(value), end) == (repr(expected), 2 + length)
    assert skipper(names, survey.recursive).of(schema)(padded, 2) == end


@drawn_twice
@given(event_schemas(), st.data())
def test_an_event_is_what_fastavro_and_the_plain_shaping_make_of_it(schema: Any, data: st.DataObject) -> None:
    result, names, _ = parsed(schema)
    made, read_slowly = plan(schema), oracle.events_of(schema)
    for _ in range(3):
        body = data.draw(st.composite(lambda draw: BodyMaker(draw, names).of(result))())
        # the text tells 0 from False and NaN from nothing, and sees the order of names
        assert repr(made.read(body, 0)) == repr(read_slowly(body))


@drawn_twice
@given(event_schemas(), st.data())
def test_an_event_of_any_schema_cut_short_anywhere_is_undecodable(schema: Any, data: st.DataObject) -> None:
    result, names, _ = parsed(schema)
    made = plan(schema)
    body = data.draw(st.composite(lambda draw: BodyMaker(draw, names).of(result))())
    made.read(body, 0)
    for length in range(len(body)):
        with suppress(DecodeError):
            raise AssertionError(made.read(body[:length], 0))


@drawn_twice
@given(event_schemas(), st.binary(max_size=60), st.data())
def test_hostile_bytes_of_any_schema_raise_decode_error_or_nothing(
    schema: Any, garbage: bytes, data: st.DataObject
) -> None:
    result, names, _ = parsed(schema)
    made = plan(schema)
    body = data.draw(st.composite(lambda draw: BodyMaker(draw, names).of(result))())
    at = data.draw(st.integers(0, len(body)))
    for hostile in (
        garbage,
        body[:at] + garbage,
        body[:at] + garbage + body[at:],
        body[:at] + b"\xff" + body[at + 1 :],
    ):
        with suppress(DecodeError):
            made.read(hostile, 0)


@given(seed=st.integers(0, 2**32))
@settings(max_examples=10)
def test_what_is_sent_is_the_same_to_the_byte(seed: int) -> None:
    schema = shipped_schema()
    made, read_slowly = plan(schema), oracle.events_of(schema)
    decider, known, known_slowly = Decider(policy()), Identities(TTL_MS), Identities(TTL_MS)
    payloads = 0
    for offset, one in enumerate(recorded(seed=seed, events=60, encode=single_object_encoder(json.dumps(schema)))):
        if one.value is None or not one.message_id:
            continue
        read, slowly = made.read(one.value, 10), read_slowly(one.value[10:])
        decision = decider.decide(TP, record(offset), read, known, schema=SCHEMA, now=0.0)
        assert decision == decider.decide(TP, record(offset), slowly, known_slowly, schema=SCHEMA, now=0.0)
        payloads += isinstance(decision, Item)
    assert payloads > 0
