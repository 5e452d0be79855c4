"""The README says what the code does: every setting with its default, every metric with its labels."""

import re
from enum import Enum
from pathlib import Path

import pytest
from prometheus_client import Counter
from prometheus_client.metrics import MetricWrapperBase

from worker.cli import COMMANDS
from worker.metrics import PREFIX, Metrics
from worker.settings.table import Settings

README = (Path(__file__).parents[2] / "README.md").read_text()


def rows(first_column: str) -> dict[str, list[str]]:
    """The cells of the table whose first column has this heading, by the first cell of each row."""
    _, _, table = README.partition(f"| {first_column} |")
    lines = table.partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {row[0].strip("| `"): row[1:] for row in cells}


def shown_default(name: str) -> str:
    """As the table writes it: words for the two that are none, a dash for what is not set."""
    words = {"schema_dir": "the shipped `schemas/`", "consent_categories": "required"}
    default = Settings.model_fields[name].default
    if name in words or default in (None, {}, ()):
        return words.get(name, "-")
    if isinstance(default, tuple):
        return f"`{','.join(default)}`"
    if isinstance(default, Enum | bool):
        return f"`{str(getattr(default, 'value', default)).lower()}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


SETTINGS = [
    name for name in Settings.model_fields if not (name.endswith("_file") and name[:-5] in Settings.model_fields)
]


def test_no_setting_is_missing_and_none_is_made_up() -> None:
    assert list(rows("variable")) == [name.upper() for name in SETTINGS]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_settings_default_and_meaning_are_the_codes(name: str) -> None:
    assert rows("variable")[name.upper()] == [shown_default(name), Settings.model_fields[name].description]


def test_every_metric_is_there_with_its_labels() -> None:
    expected = set()
    for metric in vars(Metrics()).values():
        if isinstance(metric, MetricWrapperBase):
            name = metric._name.removeprefix(f"{PREFIX}_") + ("_total" if isinstance(metric, Counter) else "")
            labels = ",".join(metric._labelnames)
            expected.add(f"{name}{{{labels}}}" if labels else name)
    assert set(rows("metric")) == expected


def test_its_commands_are_the_code_s() -> None:
    commands = README.partition("**Commands:**")[2].partition(";")[0]
    assert re.findall("`([a-z-]+)`", commands) == list(COMMANDS)


def test_every_page_and_file_it_links_to_exists() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (Path(__file__).parents[2] / link).exists()] == []


def test_it_is_read_in_one_go() -> None:
    assert len(README.splitlines()) <= 200


def test_every_make_target_it_names_exists() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`", README)) <= targets
