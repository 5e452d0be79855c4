import re
from typing import Any

import fastavro
import pytest

from tests import oracle
from tests.builders_avro import STRINGS, encode, read, schema_of, shipped_schema
from worker.core.avro.event_reader import EventReader
from worker.core.decoding import DecodeError, plan
from worker.core.schema_facts import Survey


def reader_of(schema: Any) -> EventReader:
    names: dict[str, Any] = {}
    parsed: Any = fastavro.parse_schema(schema, names)
    return EventReader(parsed, names, Survey(parsed, names).recursive, 1, {})


def test_no_word_of_a_schema_is_part_of_the_source() -> None:
    words = {
        "type": "record",
        "name": "Evil_name",
        "namespace": "evil_space",
        "doc": "evil_doc",
        "evil_key": "evil_value",
        "fields": [
            {"name": "evil_field", "type": "string", "doc": "evil_doc"},
            {"name": "type", "type": {"type": "enum", "name": "Evil_enum", "symbols": ["evil_symbol"]}},
            {"name": "context", "type": {"type": "record", "name": "Evil_context", "fields": [
                {"name": "evil_inside", "type": {"type": "map", "values": "long"}},
                {"name": "page", "type": ["null", {"type": "fixed", "name": "Evil_fixed", "size": 3}]},
            ]}},
        ],
    }  # fmt: skip
    source = reader_of(words).source
    assert "evil" not in source.lower()
    assert "event_type" in source


def test_the_source_of_the_shipped_schema_reads_known_texts_in_place() -> None:
    source = reader_of(shipped_schema()).source
    in_place = set(re.findall(r"(\w+) = data\[start:at\].decode\(\)", source))
    assert in_place == {
        *(f"event_{name}" for name in ("type", "event", "name", "messageId", "anonymousId", "userId", "groupId")),
        *("context_ip", "context_userAgent", "page_url", "page_title", "page_referrer"),
        *(f"campaign_{name}" for name in ("source", "medium", "name", "term", "content")),
    }


def test_parts_come_in_dreamdatas_order_whatever_the_schemas() -> None:
    part = schema_of(title="string", url="string") | {"name": "Page"}
    context = schema_of(campaign=STRINGS, page=part, userAgent="string", ip="string") | {"name": "Context"}
    datum = {"campaign": {"source": "s"}, "page": {"title": "t", "url": "u"}, "userAgent": "a", "ip": "i"}
    made = read(schema_of(context=context), {"context": datum}).context
    assert list(made) == ["ip", "userAgent", "page", "campaign"]
    assert list(made["page"]) == ["url", "title"]  # type: ignore[call-overload]  # a page is a dict


@pytest.mark.parametrize("optional", [False, True], ids=["required", "optional"])
def test_a_context_without_any_field_is_read(*, optional: bool) -> None:
    empty = schema_of() | {"name": "Context"}
    schema = schema_of(type="string", context=["null", empty] if optional else empty)
    assert read(schema, {"type": "page", "context": {}}).context == {}


def test_one_plan_reads_event_after_event() -> None:
    made = plan(shipped_schema())
    whole = {"ip": "1", "page": {"url": "u"}, "campaign": {"source": "s"}, "consent": {"a": True}}
    events = [{"type": "page", "context": whole}, {"type": "page", "context": None}, {"type": "page", "context": {}}]
    bodies = [encode(shipped_schema(), event) for event in events]
    alone = [oracle.event_of(shipped_schema(), body) for body in bodies]
    assert [made.read(body, 0) for body in bodies * 2] == alone * 2


VISIT = {"campaign": {"source": "s"}, "consent": {"canonical": {"analytics": True}}}


def test_what_stays_the_same_in_a_visit_is_read_once() -> None:
    made = plan(shipped_schema())
    contexts = [{**VISIT, "page": {"url": url}} for url in ("first", "second")]
    first, second = (
        made.read(encode(shipped_schema(), {"type": "page", "context": context}), 0) for context in contexts
    )
    assert first.consent is second.consent
    assert first.context["campaign"] is second.context["campaign"]
    assert [event.context["page"] for event in (first, second)] == [{"url": "first"}, {"url": "second"}]


@pytest.mark.parametrize(
    "fields", [{"campaign": "Empty"}, {"ip": "string"}, {"page": "Empty"}, {"other": "string"}], ids=str
)
def test_an_event_that_is_cut_off_or_too_long_is_undecodable_although_its_rest_is_known(fields: dict[str, str]) -> None:
    types = {"Empty": schema_of() | {"name": "Empty"}, "string": "string"}
    context = schema_of(**{name: types[kind] for name, kind in fields.items()}) | {"name": "Context"}
    schema = schema_of(type="string", context=context)
    made = plan(schema)
    datum = {name: {} if kind == "Empty" else "text" for name, kind in fields.items()}
    body = encode(schema, {"type": "page", "context": datum})
    made.read(body, 0)
    for bad in [*(body[:size] for size in range(len(body))), body + b"x"]:
        with pytest.raises(DecodeError):
            made.read(bad, 0)
