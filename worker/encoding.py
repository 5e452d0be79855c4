"""Signal events as bytes in single-object encoding, for whoever plays a producer: test events, the demo, the tests.

The worker itself only reads Avro; nothing it needs is in here, and nothing of Kafka's.
"""

import io
import json
from collections.abc import Callable, Mapping

import fastavro

from worker.schema_directory import crc_64_avro

_MAGIC = b"\xc3\x01"


def single_object_encoder(schema_text: str) -> Callable[[Mapping[str, object]], bytes]:
    """Writes events with this Avro schema, each behind its CRC-64-AVRO fingerprint; may be called from any thread."""
    schema = json.loads(schema_text)
    parsed = fastavro.parse_schema(schema)
    prefix = _MAGIC + crc_64_avro(schema)

    def encode(event: Mapping[str, object]) -> bytes:
        body = io.BytesIO()
        fastavro.schemaless_writer(body, parsed, event)
        return prefix + body.getvalue()

    return encode
