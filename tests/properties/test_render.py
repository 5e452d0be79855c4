from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import TP, identify, pipeline, policy, record, signal, undecodable, without_consent
from tests.builders_avro import Shape, shaped
from tests.properties.test_decoding import events, expected
from worker.core.decoding import json_plan
from worker.core.lanes import Limits
from worker.render.lines import BodyLine, RecordLine, lines_of
from worker.render.rehearsal import rehearse

json_shapes = st.builds(
    Shape,
    names=st.sampled_from(["camel", "snake"]),
    free=st.sampled_from(["map", "json"]),
    consent=st.sampled_from(["map", "json"]),
    time=st.sampled_from(["millis", "iso"]),
)
kinds = st.sampled_from(
    [
        lambda offset: signal(offset, properties={"padding": "x" * (offset * 37 % 400)}),
        lambda offset: identify(offset, traits={"email": f"{offset}@acme.com"}),
        lambda offset: signal(offset, anonymousId=None),
        lambda offset: record(offset, None),
        lambda offset: signal(offset, properties={"padding": "x" * 2_000}),
        without_consent,
        undecodable,
    ]
)


@given(events, json_shapes)
def test_a_line_is_read_as_avro_of_the_same_content_is(event: dict[str, Any], shape: Shape) -> None:
    assert json_plan().read(msgspec.json.encode(shaped(shape, event)), 0) == expected(event, shape)


@given(st.lists(st.tuples(kinds, st.integers(1, 3)), min_size=1), st.integers(1, 4), st.integers(1, 3))
def test_every_record_is_shown_once_and_bodies_hold_what_is_shown_as_delivered(
    makers: list[tuple[Any, int]], max_events: int, in_flight: int
) -> None:
    offset, records = 0, []
    for make, gap in makers:
        records.append(make(offset))
        offset += gap
    limits = Limits(batch_max_bytes=1_500, batch_max_events=max_events, in_flight=in_flight, rejection_limit=3)
    made = pipeline(limits, policy(batch_max_bytes=1_500))
    lines = lines_of(rehearse(made, TP, records, lambda _refs: ()))
    shown = [line for line in lines if isinstance(line, RecordLine)]
    bodies = [line for line in lines if isinstance(line, BodyLine)]
    assert [line.offset for line in shown] == [each.offset for each in records]
    sent = [item["messageId"] for body in bodies for item in msgspec.json.decode(body.body)["batch"]]
    assert sent == [line.message_id for line in shown if line.outcome == "delivered"]
    assert all(len(body.body) == body.bytes < 1_500 and 0 < body.events <= max_events for body in bodies)
    waiting = [line.outcome == "waiting" for line in shown]
    assert waiting == sorted(waiting), "nothing behind a record that waits is decided"
    assert not made.lanes[TP].spans or any(waiting), "all else is settled and committed"
