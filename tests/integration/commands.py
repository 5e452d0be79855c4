"""Runs a command in this process as a shell would, and keeps what it said. No assertions about what that is."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests.integration.cluster import Cluster
from worker.__main__ import main


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has come back."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What it wrote with --json."""
        return [json.loads(line) for line in self.out.splitlines()]


Command = Callable[..., Ended]


def command(
    words: Sequence[str],
    cluster: Cluster,
    usual: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """What runs these words and those it is called with; settings it is called with come on top of the usual ones."""
    always = {"KAFKA_BROKERS": cluster.bootstrap_servers, "CONSENT_CATEGORIES": "analytics,marketing", **usual}

    def run(*more: object, **settings: str) -> Ended:
        capsys.readouterr()
        with monkeypatch.context() as there:
            for name, value in {**always, **settings}.items():
                there.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main([*words, *map(str, more)])
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, captured.out, captured.err)

    return run
