"""`render` as it is called, over files. Of Kafka there is only what can be said without one."""

import io
import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from worker.__main__ import main

PAGE = (Path(__file__).parents[2] / "docs" / "render.md").read_text()
# `$ NAME=value dreamdata-worker render arguments`, and what it prints
SHOWN = re.compile(r"\$ (.*?)dreamdata-worker render (events\.jsonl .*|events\.jsonl)\n([^$`]+)")

EVENT = {
    "type": "track",
    "event": "Lead Generated",
    "messageId": "evt_0",
    "anonymousId": "df_8f2a1c9e",
    "timestamp": "2026-06-06T11:11:14Z",
    "context": {"consent": {"analytics": True}},
}


@pytest.fixture
def events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of one event that is sent, one that is unmapped and a line that is no event."""
    monkeypatch.setenv("CONSENT_CATEGORIES", "analytics")
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join([json.dumps(EVENT), json.dumps({**EVENT, "event": "Demo Booked"}), "oops"]))
    return file


def render(*arguments: object) -> object:
    with pytest.raises(SystemExit) as raised:
        main(["render", *map(str, arguments)])
    return raised.value.code


def test_a_file_is_shown_for_people(events: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert render(events) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(
        'delivery-dreamdata[0]@0  delivered      lead_generated    evt_0  (track "Lead Generated")\n'
        'delivery-dreamdata[0]@1  filtered       unmapped          evt_0  (track "Demo Booked")\n'
        "delivery-dreamdata[0]@2  dead_lettered  undecodable       -: it is no JSON object\n"
        "body of delivery-dreamdata[0], offsets [0, 3): 1 event, "
    )
    assert '      "messageId": "evt_0",\n' in shown.out
    assert "3 records: 1 delivered, 1 filtered, 1 dead_lettered; 1 body, " in shown.err


def test_a_file_is_written_for_scripts(events: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert render(events, "--json", "--topic", "t", "--partition", 3, "--from-offset", 1) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["kind"], line["topic"], line["partition"], line["offset"]) for line in lines] == [
        ("record", "t", 3, 1),
        ("record", "t", 3, 2),
    ]


def test_standard_input_is_a_file(
    events: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert render(events) == 0
    of_file = capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(events.read_bytes())))
    assert render("-") == 0
    assert capsys.readouterr().out == of_file


def test_what_is_expected_is_compared_and_a_changed_mapping_is_exit_code_3(
    events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = tmp_path / "expected.jsonl"
    render(events, "--json")
    expected.write_text(capsys.readouterr().out)
    assert render(events, "--expect", expected) == 0
    assert capsys.readouterr().out == f"As in {expected}: 4 lines.\n"

    monkeypatch.setenv("EVENT_MAPPING", '{"Demo Booked": "demo_booked"}')
    assert render(events, "--expect", expected) == 3
    found = capsys.readouterr().out
    assert '\n-delivery-dreamdata[0]@1  filtered       unmapped          evt_0  (track "Demo Booked")\n' in found
    assert '\n+delivery-dreamdata[0]@1  delivered      demo_booked       evt_0  (track "Demo Booked")\n' in found
    assert '\n+      "event": "demo_booked",\n' in found


def test_only_bodies_or_only_outcomes_are_shown_and_compared(
    events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = tmp_path / "expected.jsonl"
    render(events, "--json")
    expected.write_text(capsys.readouterr().out)
    monkeypatch.setenv("TRAITS_PLACEMENT", "context")
    events.write_text(events.read_text().replace("evt_0", "evt_1", 1))
    assert render(events, "--only", "outcomes") == 0
    assert "body of" not in capsys.readouterr().out
    assert render(events, "--only", "bodies", "--json") == 0
    assert [json.loads(line)["kind"] for line in capsys.readouterr().out.splitlines()] == ["body"]
    assert render(events, "--only", "bodies", "--expect", expected) == 3
    assert "@0" not in capsys.readouterr().out


def test_where_run_would_hold_the_exit_code_is_3(events: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events.write_text("oops\n" * 12)
    assert render(events) == 3
    assert "12 records: 10 dead_lettered, 2 waiting" in capsys.readouterr().err


def test_a_body_is_not_cut_by_a_linger_of_0(
    events: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BATCH_LINGER_MS", "0")
    events.write_text((json.dumps(EVENT) + "\n") * 1_500)
    render(events, "--only", "bodies")
    assert "1500 delivered; 1 body" in capsys.readouterr().err


def test_a_doubtful_setting_is_noted(
    events: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONSENT_CATEGORIES", "analytic")
    render(events, "--json")
    assert "Note: CONSENT_CATEGORIES names 'analytic'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["nothing.jsonl"], "does not exist", id="no-file"),
        pytest.param([".", "--json"], "is a directory", id="a-folder"),
        pytest.param(["EVENTS", "--expect", "nothing.jsonl"], "does not exist", id="nothing-expected"),
        pytest.param(
            ["EVENTS", "--expect", "EVENTS"], "is none that render --json has written", id="not-written-by-it"
        ),
        pytest.param(["EVENTS", "--count", "0"], "0 is not in the range", id="count"),
        pytest.param(["EVENTS", "--from-offset", "-1"], "'-1' is no offset", id="offset"),
        pytest.param(["EVENTS", "--from-offset", "0:1"], "a FILE has lines", id="offset-of-a-partition"),
        pytest.param(["EVENTS", "--to", "2026-06-01"], "a FILE has lines", id="time"),
        pytest.param(["EVENTS", "--partition", "0", "--partition", "1"], "a FILE has lines", id="partitions"),
        pytest.param(["EVENTS", "--event", "Nonsense"], "nothing is sent by the name 'Nonsense'", id="event"),
        pytest.param(["EVENTS", "--dead-letters"], "a FILE holds events", id="dead-letters"),
        pytest.param(["EVENTS", "--only", "everything"], "'everything' is not one of", id="only"),
    ],
)
def test_wrong_arguments_are_refused(
    arguments: list[str], words: str, events: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert render(*(events if argument == "EVENTS" else argument for argument in arguments)) == 2
    assert words in capsys.readouterr().err


def test_of_a_file_only_the_events_asked_for_are_shown_as_sent(
    events: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert render(events, "--json", "--only", "outcomes", "--event", "lead generated") in (0, 3)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["event"] for line in lines if line["outcome"] == "delivered"} == {"lead_generated"}
    assert "not-selected" in {line["reason"] for line in lines}


def test_a_pattern_names_no_topic(
    events: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAFKA_TOPICS", "^delivery-.*")
    assert render(events) == 2
    assert "--topic: KAFKA_TOPICS is a pattern" in capsys.readouterr().err
    assert render(events, "--topic", "delivery-1") == 0


def test_the_page_on_render_shows_what_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONSENT_CATEGORIES", "analytics")
    example = PAGE.partition("```json\n")[2].partition("```")[0]
    Path("events.jsonl").write_text(example)
    render("events.jsonl", "--json")
    Path("expected.jsonl").write_text(capsys.readouterr().out)

    shown = SHOWN.findall(PAGE)
    for environment, arguments, printed in shown:
        with monkeypatch.context() as there:
            for assignment in shlex.split(environment):
                there.setenv(*assignment.split("=", 1))
            render(*shlex.split(arguments))
        captured = capsys.readouterr()
        assert printed in (captured.out, captured.out + captured.err)
    assert len(shown) == 3
