"""The wall clock is moved by others, an hour at a time: nothing may wait by it."""

import ast
from pathlib import Path

WORKER = Path(__file__).parents[2] / "worker"
WALL_CLOCKS = {
    *("time.time", "time.time_ns", "time.localtime", "time.gmtime", "time.ctime", "time.strftime"),
    *("datetime.now", "datetime.utcnow", "datetime.today", "date.today", "formatdate"),
}
# what tells people and other machines the time of day
ALLOWED = {
    "api.py": "a Retry-After date, where the answer has no date of its own",
    "assembly.py": "dl-first-failed-at",
    "logs.py": "the time of a log line",
    "sender.py": "sentAt",
    "sandbox/app.py": "the time of a request on the activity page",
    "running.py": "the time of an outcome that `tap` shows",
    "cli/dead_letters/options.py": "how old a dead letter is, and what `2h` ago was",
    "cli/emit.py": "the timestamp of a test event",
    "demo/show.py": "the timestamps of the demo's events",
    "render/extents.py": "whether a range ends in time to come",
}


def wall_clocks(module: Path) -> set[str]:
    """The wall clocks a module names, however it has imported them."""
    names = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Attribute):
            names.add(".".join(ast.unparse(node).split(".")[-2:]))
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names if node.module == "time"}
    return names & WALL_CLOCKS


def test_the_time_of_day_is_read_only_to_be_told() -> None:
    found = {str(module.relative_to(WORKER)) for module in WORKER.rglob("*.py") if wall_clocks(module)}

    assert found == set(ALLOWED)
