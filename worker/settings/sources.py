"""Where values come from: the environment, a TOML file, files that hold a secret. What a value means is not known."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ENVIRONMENT = "from the environment"
CONFIG_VARIABLE = "WORKER_CONFIG"
SECRETS = ("dreamdata_api_key", "kafka_sasl_password", "schema_registry_password", "console_token")
MAX_SECRET_BYTES = 64 * 1024


class SecretFileError(ValueError):
    """The file of a secret cannot be used; says why, never what is in it."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value as it was written, and where."""

    raw: object
    origin: str


@dataclass(frozen=True, slots=True)
class Gathered:
    """All that was written, by attribute name, and what was wrong with the writing."""

    values: dict[str, Value] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)


def gather(
    names: Iterable[str], env: Mapping[str, str], config_file: Path | None, secrets: Iterable[str] = SECRETS
) -> Gathered:
    """Values for `names`: the environment's over the file's, and these secrets read from their files."""
    known = frozenset(names)
    gathered = Gathered()
    if config_file is None and env.get(CONFIG_VARIABLE):
        config_file = Path(env[CONFIG_VARIABLE])
    if config_file is not None:
        _read_file(gathered, known, config_file)
    for name in sorted(known):
        # an empty variable is what `NAME=${NAME:-}` in a compose file gives when nothing was set
        if env.get(name.upper(), "").strip():
            gathered.values[name] = Value(env[name.upper()], ENVIRONMENT)
    gathered.problems.extend(_misspelt(known, env))
    for name in secrets:
        _read_secret_file(gathered, name)
    return gathered


def _read_file(gathered: Gathered, known: frozenset[str], path: Path) -> None:
    origin = f"from {path}"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        gathered.problems.append(f"The settings file {path} cannot be read: {error.strerror}.")
        return
    except UnicodeDecodeError:
        gathered.problems.append(f"The settings file {path} is not UTF-8 text.")
        return
    except tomllib.TOMLDecodeError as error:
        # the text ends in "(at line 3, column 9)" and quotes at most one character
        gathered.problems.append(f"The settings file {path} is not TOML: {error}.")
        return
    for name, raw in table.items():
        if name in known:
            gathered.values[name] = Value(raw, origin)
            continue
        guess = _nearest(name.upper(), known)
        hint = f"did you mean {guess.lower()}?" if guess else "no setting has this name."
        gathered.problems.append(f"{name} ({origin}) is unknown: {hint}")


def _read_secret_file(gathered: Gathered, name: str) -> None:
    values = gathered.values
    file_value = values.get(f"{name}_file")
    if file_value is None:
        return
    if name in values:
        gathered.problems.append(
            f"{name.upper()} ({values[name].origin}) and {name.upper()}_FILE ({file_value.origin}) are both set; "
            "allowed: one of them."
        )
        gathered.failed.add(name)
        return
    if not isinstance(file_value.raw, str):
        return  # the table says what is wrong with it
    try:
        values[name] = Value(read_secret(Path(file_value.raw)), f"from {file_value.raw}")
    except SecretFileError as error:
        gathered.problems.append(
            f"{name.upper()}_FILE ({file_value.origin}) {error}; allowed: a readable file with the secret in one line."
        )
        gathered.failed.add(name)


def read_secret(path: Path) -> str:
    """What the file holds, without the line break at its end; raises `SecretFileError` where that is nothing."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_SECRET_BYTES + 1).decode("utf-8")
    except OSError as error:
        raise SecretFileError(f"names {path}, which cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise SecretFileError(f"names {path}, which is not UTF-8 text") from None
    text = text.removeprefix("\ufeff").rstrip("\r\n")
    if not text.strip():
        raise SecretFileError(f"names {path}, which is empty")
    if "\n" in text or len(text) > MAX_SECRET_BYTES:
        raise SecretFileError(f"names {path}, which has more than one line")
    return text


def _misspelt(known: frozenset[str], env: Mapping[str, str]) -> list[str]:
    ours = {name.upper() for name in known} | {CONFIG_VARIABLE}
    problems = []
    for name in sorted(env):
        if name in ours:
            continue
        guess = _nearest(name.upper(), known | {CONFIG_VARIABLE.lower()})
        if guess:
            problems.append(f"{name} ({ENVIRONMENT}) is unknown: did you mean {guess}?")
    return problems


def _nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is nearest in spelling, in capitals, if it is near enough.

    Two letters make another word of a short name: a machine is full of HOSTS, SORT and HOME. So names below eight
    letters must be within one, and those below six are not compared.
    """
    best: tuple[int, str] | None = None
    for candidate in sorted(known):
        target = candidate.upper()
        limit = 2 if len(target) >= 8 else 1 if len(target) >= 6 else -1
        if abs(len(target) - len(name)) <= limit:
            distance = _letters_apart(name, target)
            if distance <= limit and (best is None or distance < best[0]):
                best = (distance, target)
    return best[1] if best else None


def _letters_apart(a: str, b: str) -> int:
    """Damerau-Levenshtein: letters added, left out, changed, or swapped with their neighbour."""
    before: list[int] = []
    above = list(range(len(b) + 1))
    for i, letter in enumerate(a, start=1):
        row = [i]
        for j, other in enumerate(b, start=1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, above = above, row
    return above[-1]
