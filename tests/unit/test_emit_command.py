"""What the command `emit` refuses before it looks for Kafka."""

import pytest

from worker.__main__ import main

SETTINGS = {"CONSENT_CATEGORIES": "analytics", "KAFKA_TOPICS": "delivery-a,delivery-b"}


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str, **settings: str) -> str:
    """What is said on standard error; nothing is said elsewhere, and the exit code is 2."""
    for name, value in {**SETTINGS, **settings}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as raised:
        main(["emit", *words])
    assert raised.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


@pytest.mark.parametrize(
    ("words", "settings", "problem"),
    [
        pytest.param(["page"], {"KAFKA_TOPICS": "^delivery-"}, "--topic must say which", id="pattern"),
        pytest.param(["page", "--topic", "a.dead-letters"], {}, "no worker reads it", id="the-worker-s-own-topic"),
        pytest.param(["page", "--count", "2", "--message-id", "e"], {}, "allowed: one of them", id="one-id-for-two"),
        pytest.param(["page", "--timestamp", "today"], {}, "--timestamp is no ISO-8601", id="no-moment"),
        pytest.param(["page", "a:=x"], {}, "a is no JSON", id="no-json"),
        pytest.param(["view"], {}, "'view' is not one of 'page', 'track'", id="no-such-call"),
        pytest.param(["page"], {"KAFKA_BROKERS": "a b"}, "KAFKA_BROKERS", id="wrong-settings"),
    ],
)
def test_a_wrong_argument_is_exit_code_2(
    words: list[str],
    settings: dict[str, str],
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert problem in refused(monkeypatch, capsys, *words, **settings)
