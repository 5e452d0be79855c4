"""The command without a network: settings, key, schemas and mapping."""

import json
from pathlib import Path
from typing import Any

import pytest

from worker.__main__ import main
from worker.settings.table import Settings


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("CONSENT_CATEGORIES", "analytics")


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "key"
    path.write_text("s3cret\n")
    monkeypatch.setenv("DREAMDATA_API_KEY_FILE", str(path))
    return path


def ended(*arguments: str) -> object:
    with pytest.raises(SystemExit) as raised:
        main(["check", "--offline", *arguments])
    return raised.value.code


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, dict[str, Any]]:
    code = ended("--json", *arguments)
    return code, json.loads(capsys.readouterr().out)


def verdicts(found: dict[str, Any]) -> dict[str, str]:
    return {result["area"]: result["verdict"] for result in found["results"]}


def test_with_everything_at_hand_there_is_no_finding(key_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended() == 0
    page = capsys.readouterr().out
    assert f"ok       key           DREAMDATA_API_KEY_FILE names {key_file}, which can be read\n" in page
    assert "ok       schemas       signal_event.avsc (fingerprint:37d76e10d0964a76): 21 fields found" in page
    assert page.endswith("\nNo findings, 1 skipped.\n")


def test_a_missing_key_is_a_finding_and_the_rest_is_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = report(capsys)
    assert code == 3
    assert verdicts(found) == {
        "settings": "ok",
        "key": "finding",
        "api": "ok",
        "network": "skipped",
        "schemas": "ok",
        "mapping": "ok",
    }


@pytest.mark.parametrize("content", [None, "", "two\nlines\n"], ids=["missing", "empty", "two lines"])
def test_an_unreadable_key_file_is_a_finding_that_names_it(
    key_file: Path, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    key_file.unlink()
    if content is not None:
        key_file.write_text(content)
    code, found = report(capsys)
    assert code == 3
    assert verdicts(found)["key"] == "finding"
    assert str(key_file) in json.dumps(found)


def test_a_key_in_both_places_is_a_finding(
    key_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DREAMDATA_API_KEY", "an0ther")
    code, found = report(capsys)
    assert (code, verdicts(found)["key"]) == (3, "finding")


def test_wrong_settings_are_exit_code_2_and_all_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", "no")
    monkeypatch.delenv("CONSENT_CATEGORIES")
    assert ended() == 2
    said = capsys.readouterr().err
    assert "PORT" in said
    assert "CONSENT_CATEGORIES" in said


def test_what_looks_like_a_mistake_is_a_warning(
    key_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONSENT_CATEGORIES", "analytics,marketng")
    code, found = report(capsys)
    assert code == 0
    [doubt] = [result for result in found["results"] if result["verdict"] == "warning"]
    assert "marketng" in doubt["what"]


def test_every_setting_is_shown_with_its_origin_and_no_secret(
    key_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONSOLE_TOKEN", "t0ken")
    monkeypatch.setenv("KAFKA_CLIENT", '{"ssl.key.password": "pa55"}')
    assert ended("--show") == 0
    page = capsys.readouterr().out
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in page.splitlines() if line}
    assert [name for name in Settings.model_fields if name.upper() not in lines] == []
    assert lines["CONSOLE_TOKEN"].split(maxsplit=1) == ["***", "from the environment"]
    assert lines["PORT"].split() == ["8082", "default"]
    assert not [secret for secret in ("t0ken", "s3cret", "pa55") if secret in page]


def test_the_file_of_settings_is_read(
    key_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "worker.toml"
    config.write_text('variant = "default"\n[event_mapping]\n"Demo Booked" = "demo_booked"\n')
    _, found = report(capsys, "--config", str(config), "--show")
    assert found["settings"]["VARIANT"] == {"value": "default", "from": f"from {config}"}
    assert {"event": "track Demo Booked", "sent": "demo_booked", "why": "EVENT_MAPPING"} in found["mapping"]


def test_the_table_that_event_mapping_results_in_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EVENT_MAPPING", '{"Demo Booked": "demo_booked", "Logged In": false}')
    ended()
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "track Demo Booked demo_booked EVENT_MAPPING" in rows
    assert "track Logged In not sent EVENT_MAPPING" in rows
    assert "track Signed Up sign_up VARIANT=b2b_saas" in rows


def test_every_file_of_the_schema_directory_has_a_line(
    key_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "schemas"
    folder.mkdir()
    (folder / "broken.avsc").write_text("{")
    bare = {"type": "record", "name": "Bare", "fields": [{"name": "event", "type": "string"}]}
    (folder / "lacking.avsc").write_text(json.dumps(bare))
    monkeypatch.setenv("SCHEMA_DIR", str(folder))
    code, found = report(capsys)
    assert code == 3
    broken, lacking = (result for result in found["results"] if result["area"] == "schemas")
    assert "broken.avsc is no Avro schema" in broken["what"]
    assert "without `type`" in lacking["what"]
    assert lacking["details"][0] == "found: event"


@pytest.mark.parametrize(("url", "code"), [(None, 3), ("http://127.0.0.1:1", 0)], ids=["neither", "a registry"])
def test_without_any_schema_there_has_to_be_a_registry(
    key_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str | None, code: int
) -> None:
    folder = tmp_path / "schemas"
    folder.mkdir()
    monkeypatch.setenv("SCHEMA_DIR", str(folder))
    if url is not None:
        monkeypatch.setenv("SCHEMA_REGISTRY_URL", url)
    assert ended() == code
