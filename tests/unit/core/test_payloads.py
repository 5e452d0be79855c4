from uuid import UUID

import msgspec
import pytest

from tests.builders import TIME_MS, TP, record, tp
from worker.core.payloads import REMEMBERED_MINUTES, Timestamps, batch_id, derived_message_id, encode


@pytest.mark.parametrize(
    ("timestamp_ms", "text"),
    [
        (1_780_744_274_000, "2026-06-06T11:11:14.000Z"),
        (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (-62_135_596_800_000, "0001-01-01T00:00:00.000Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        (951_782_400_007, "2000-02-29T00:00:00.007Z"),
    ],
)
def test_a_timestamp_has_milliseconds_and_a_z(timestamp_ms: int, text: str) -> None:
    assert Timestamps().text(timestamp_ms) == text


def test_a_timestamp_is_the_same_whatever_was_written_before() -> None:
    times = [TIME_MS + step * 20_001 for step in range(3 * REMEMBERED_MINUTES)]
    timestamps = Timestamps()
    written = [timestamps.text(time) for time in times + times[::-1]]
    alone = [Timestamps().text(time) for time in times]
    assert written == alone + alone[::-1]
    assert len(set(written)) == len(times)


def test_a_derived_id_is_fixed_for_ever() -> None:
    assert derived_message_id(TP, record(42)) == "65cab083-9567-5fd5-ac62-4b94a3dde47e"


def test_derived_ids_differ_by_topic_partition_offset_and_time() -> None:
    made = {
        derived_message_id(TP, record(42)),
        derived_message_id(tp(1), record(42)),
        derived_message_id(TP._replace(topic="delivery-2"), record(42)),
        derived_message_id(TP, record(43)),
        derived_message_id(TP, record(42, timestamp_ms=-1)),
    }

    assert len(made) == 5


def test_a_derived_id_does_not_depend_on_what_is_in_the_record() -> None:
    assert derived_message_id(TP, record(42, b"x")) == derived_message_id(TP, record(42, b"y", key=b"k"))


def test_a_batch_id_depends_on_the_ids_in_it_and_their_order() -> None:
    assert UUID(batch_id(["a", "b"])).version == 5
    assert len({batch_id(["a", "b"]), batch_id(["b", "a"]), batch_id(["ab"]), batch_id(["a"])}) == 4
    assert batch_id(["a", "b"]) == batch_id(iter(["a", "b"]))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")], ids=str)
@pytest.mark.parametrize("where", ["top", "list", "object"])
def test_what_json_has_no_word_for_is_refused_wherever_it_hides(value: float, where: str) -> None:
    nested = {"top": value, "list": [1, [value]], "object": {"a": {"b": value}}}[where]

    with pytest.raises(ValueError, match="infinity"):
        encode({}, None, {"finite": [1.5, {"text": "null"}], "x": nested})


def test_a_null_that_is_meant_is_kept() -> None:
    properties: dict[str, object] = {"x": None, "y": [None]}
    assert encode({"properties": properties}, properties) == b'{"properties":{"x":null,"y":[null]}}'


def test_text_is_utf_8_without_white_space() -> None:
    assert encode({"a": "é\u2028\x00"}) == '{"a":"é\u2028\\u0000"}'.encode()


@pytest.mark.parametrize("depth", [400, 600, 900, 5_000])
def test_what_is_nested_too_deeply_is_refused_and_ends_nothing(depth: int) -> None:
    nested: object = None
    for _ in range(depth):
        nested = [nested]

    try:
        assert msgspec.json.decode(encode({"p": nested}, {"p": nested})) == {"p": nested}
    except ValueError as error:
        assert "deep" in str(error)  # noqa: PT017 - how deep Python can go differs between its versions
    except RecursionError:
        pytest.fail("a record's content must not end the process")
