"""The schemas that lie in a directory, by the fingerprint single-object encoding names them with.

No registry in here (`schemas.py`), no thread and no retry.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastavro.schema import SchemaParseException, fingerprint, to_parsing_canonical_form

from worker.core.decoding import Plan, SchemaError, SchemaKnown, SchemaRef, plan
from worker.errors import SettingsError


@dataclass(frozen=True, slots=True)
class SchemaFile:
    """One `*.avsc` file: the schema, or what is wrong with it."""

    path: Path
    content: SchemaKnown | str


def load_directory(directory: Path) -> Mapping[SchemaRef, Plan]:
    """The `*.avsc` files of a directory by their CRC-64-AVRO fingerprint. Raises SettingsError naming every file that
    is no Avro schema.
    """
    contents = [file.content for file in schema_files(directory)]
    if problems := [content for content in contents if isinstance(content, str)]:
        raise SettingsError(problems)
    return {content.ref: content.plan for content in contents if isinstance(content, SchemaKnown)}


def schema_files(directory: Path) -> list[SchemaFile]:
    """The `*.avsc` files of a directory, by name. Raises SettingsError if the directory cannot be read."""
    try:
        files = sorted(path for path in directory.iterdir() if path.suffix == ".avsc")
    except OSError as error:
        raise SettingsError([f"SCHEMA_DIR: {directory} cannot be read: {error.strerror}"]) from error
    return [SchemaFile(path, _content(path)) for path in files]


def _content(path: Path) -> SchemaKnown | str:
    try:
        schema = json.loads(path.read_bytes())
        return SchemaKnown(SchemaRef.of_fingerprint(crc_64_avro(schema)), plan(schema))
    except OSError as error:
        return f"SCHEMA_DIR: {path} cannot be read: {error.strerror}"
    except (ValueError, RecursionError, SchemaError) as error:
        return f"SCHEMA_DIR: {path} is no Avro schema: {error}"


def crc_64_avro(schema: Any) -> bytes:
    """The 8 bytes that name a schema in single-object encoding: the fingerprint of its parsing canonical form,
    little-endian.

    Raises SchemaError if it is no Avro schema.
    """
    try:
        return bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))
    except (SchemaParseException, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise SchemaError(f"it has no canonical form ({type(error).__name__}: {error})") from error
