import json
from pathlib import Path

import pytest

from tests.builders_avro import SHIPPED_SCHEMA_FILE, encode, framing_of_shipped, schema_of, shipped_schema
from worker.core.decoding import SchemaError, SchemaKnown, SchemaRef
from worker.errors import SettingsError
from worker.registry import RegistryConfig
from worker.schema_directory import crc_64_avro, load_directory, schema_files


def test_every_schema_of_the_directory_is_found_by_its_fingerprint(tmp_path: Path) -> None:
    schemas = {name: schema_of(**{name: "string"}) for name in ("type", "event")}
    for name, schema in schemas.items():
        (tmp_path / f"{name}.avsc").write_text(json.dumps(schema))
    expected = {SchemaRef.of_fingerprint(crc_64_avro(schema)) for schema in schemas.values()}
    assert set(load_directory(tmp_path)) == expected


def test_the_shipped_directory_holds_the_shipped_schema() -> None:
    plans = load_directory(SHIPPED_SCHEMA_FILE.parent)
    assert plans[framing_of_shipped()].read(encode(shipped_schema(), {"type": "page"}), 0).type == "page"


def test_other_files_of_the_directory_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("no schema")
    assert load_directory(tmp_path) == {}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "5", '{"type": "record"}', '{"type": "record", "name": "E"}', "[" * 100_000, "\x00\xff"],
    ids=["empty", "cut off", "empty union", "number", "nameless", "without fields", "brackets", "bytes"],
)
def test_a_file_that_is_no_avro_schema_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "broken.avsc").write_text(text, encoding="latin-1")
    with pytest.raises(SettingsError, match=r"broken\.avsc"):
        load_directory(tmp_path)


def test_all_broken_files_are_named_at_once(tmp_path: Path) -> None:
    for name in ("a.avsc", "b.avsc"):
        (tmp_path / name).write_text("{")
    with pytest.raises(SettingsError) as caught:
        load_directory(tmp_path)
    assert len(caught.value.problems) == 2


def test_a_broken_file_keeps_no_other_from_being_looked_at(tmp_path: Path) -> None:
    (tmp_path / "a.avsc").write_text("{")
    (tmp_path / "b.avsc").write_text(json.dumps(shipped_schema()))
    broken, whole = schema_files(tmp_path)
    assert isinstance(broken.content, str)
    assert isinstance(whole.content, SchemaKnown)
    assert (whole.path.name, whole.content.ref) == ("b.avsc", framing_of_shipped())


def test_a_directory_that_is_not_there_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="SCHEMA_DIR"):
        load_directory(tmp_path / "missing")


@pytest.mark.parametrize(
    ("schema", "fingerprint"),
    [
        # given as signed longs in Avro's own test data
        pytest.param("null", 7195948357588979594, id="null"),
        pytest.param({"type": "fixed", "name": "foo", "size": 15}, 1756455273707447556, id="fixed"),
    ],
)
def test_fingerprints_are_those_of_avro_in_little_endian_order(schema: object, fingerprint: int) -> None:
    assert int.from_bytes(crc_64_avro(schema), "little", signed=True) == fingerprint


def test_white_space_and_docs_do_not_change_the_fingerprint() -> None:
    bare = schema_of(type="string")
    assert crc_64_avro(bare | {"doc": "an event"}) == crc_64_avro(bare)


def test_what_is_no_schema_has_no_fingerprint() -> None:
    with pytest.raises(SchemaError):
        crc_64_avro({"type": "object"})


def test_a_password_is_not_printed() -> None:
    assert "s3cret" not in repr(RegistryConfig("http://127.0.0.1", "alice", "s3cret"))


def test_the_readme_names_the_shipped_schemas_fingerprint() -> None:
    readme = (SHIPPED_SCHEMA_FILE.parent / "README.md").read_text(encoding="utf-8")
    assert f"`{crc_64_avro(shipped_schema()).hex()}`" in readme
