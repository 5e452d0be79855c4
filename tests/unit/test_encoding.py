import json

from tests.builders_avro import SHIPPED_SCHEMA_FILE, encode, framing_of_shipped, shipped_schema
from worker.encoding import single_object_encoder


def test_the_schema_s_fingerprint_stands_before_the_body() -> None:
    event = {"type": "page", "anonymousId": "df_1"}
    value = single_object_encoder(SHIPPED_SCHEMA_FILE.read_text())(event)
    assert value == b"\xc3\x01" + framing_of_shipped().raw + encode(shipped_schema(), event)


def test_another_schema_has_another_fingerprint() -> None:
    event = {"type": "page"}
    other = {"type": "record", "name": "Other", "fields": [{"name": "type", "type": "string"}]}
    values = [single_object_encoder(json.dumps(schema))(event)[2:10] for schema in (other, shipped_schema())]
    assert values[0] != values[1]
