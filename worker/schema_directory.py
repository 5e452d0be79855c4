"""The schemas that lie in a directory, by the fingerprint single-object encoding names them with.

No registry in here (`schemas.py`), no thread and no retry.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastavro.schema import SchemaParseException, fingerprint, to_parsing_canonical_form

from worker.core.decoding import Plan, SchemaError, SchemaRef, plan
from worker.errors import SettingsError


def load_directory(directory: Path) -> Mapping[SchemaRef, Plan]:
    """The `*.avsc` files of a directory by their CRC-64-AVRO fingerprint. Raises SettingsError naming every file that
    is no Avro schema.
    """
    plans: dict[SchemaRef, Plan] = {}
    problems: list[str] = []
    try:
        files = sorted(path for path in directory.iterdir() if path.suffix == ".avsc")
    except OSError as error:
        raise SettingsError([f"SCHEMA_DIR: {directory} cannot be read: {error.strerror}"]) from error
    for path in files:
        try:
            schema = json.loads(path.read_bytes())
            plans[SchemaRef.of_fingerprint(crc_64_avro(schema))] = plan(schema)
        except OSError as error:
            problems.append(f"SCHEMA_DIR: {path} cannot be read: {error.strerror}")
        except (ValueError, RecursionError, SchemaError) as error:
            problems.append(f"SCHEMA_DIR: {path} is no Avro schema: {error}")
    if problems:
        raise SettingsError(problems)
    return plans


def crc_64_avro(schema: Any) -> bytes:
    """The 8 bytes that name a schema in single-object encoding: the fingerprint of its parsing canonical form,
    little-endian.

    Raises SchemaError if it is no Avro schema.
    """
    try:
        return bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))
    except (SchemaParseException, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise SchemaError(f"it has no canonical form ({type(error).__name__}: {error})") from error
