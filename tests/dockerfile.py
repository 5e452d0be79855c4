"""The Dockerfile as tests read it: its instructions, a continued line as one. Judges nothing."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCKERFILE = [
    line for line in (ROOT / "Dockerfile").read_text().replace("\\\n", "").splitlines() if line and line[0] != "#"
]


def instructions(name: str) -> list[str]:
    """What stands behind each of that name, in order."""
    return [line.removeprefix(name).strip() for line in DOCKERFILE if line.startswith(f"{name} ")]
