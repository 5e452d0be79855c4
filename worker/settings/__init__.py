"""What the worker was told: read once, in the command, checked as a whole, frozen. Nothing below reads the environment.

`load` raises one `SettingsError` with everything that is wrong. No problem and no shown value holds a secret.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

from pydantic import ValidationError

from worker.errors import SettingsError
from worker.settings.checks import CHECKS, CONNECT_TIMEOUT_SECONDS
from worker.settings.sources import SECRETS, Value, gather
from worker.settings.table import Settings
from worker.settings.values import is_loopback
from worker.settings.words import allowed, written

__all__ = [
    "API_KEY_MISSING",
    "API_KEY_PLACE",
    "CONNECT_TIMEOUT_SECONDS",
    "Settings",
    "is_loopback",
    "load",
    "load_only",
]

API_KEY_MISSING = "DREAMDATA_API_KEY is not set, nor DREAMDATA_API_KEY_FILE"
API_KEY_PLACE = "it is found in Dreamdata under Data Platform > Sources > Server Side Analytics APIs"

# their values may hold a password whatever their name says, so no message repeats them
_UNQUOTED = frozenset((*SECRETS, "kafka_client", "dreamdata_url", "schema_registry_url"))


def load(env: Mapping[str, str], config_file: Path | None = None, *, api_key_required: bool = True) -> Settings:
    """The settings that the environment and the file (or the one `WORKER_CONFIG` names) make together.

    Raises `SettingsError` with every problem. `api_key_required` is False for commands that send nothing: the key's
    file is not read then, and need not even be there.
    """
    secrets = [name for name in SECRETS if api_key_required or name != "dreamdata_api_key"]
    gathered = gather(Settings.model_fields, env, config_file, secrets)
    problems = list(gathered.problems)
    settings, wrong = _validated(gathered.values)
    problems += wrong.values()
    failed = gathered.failed | wrong.keys()
    for check in CHECKS:
        if failed.isdisjoint(check.reads):
            problems += check.find(settings)
    if api_key_required and settings.dreamdata_api_key is None and "dreamdata_api_key" not in failed:
        problems.append(f"{API_KEY_MISSING}; {API_KEY_PLACE}.")
    if problems:
        raise SettingsError(problems)
    return settings


def load_only(names: Collection[str], env: Mapping[str, str], config_file: Path | None = None) -> Settings:
    """Settings of which only `names` are read and judged, and all others are defaults: for commands that ask a running
    worker, on a machine that may have neither its key nor the rest of its settings.

    Raises `SettingsError`; names that are misspelt are a problem here as well.
    """
    gathered = gather(Settings.model_fields, env, config_file, [name for name in SECRETS if name in names])
    settings, wrong = _validated({name: value for name, value in gathered.values.items() if name in names})
    problems = [*gathered.problems, *wrong.values()]
    if problems:
        raise SettingsError(problems)
    return settings


def _validated(values: Mapping[str, Value]) -> tuple[Settings, dict[str, str]]:
    """Settings from all values that can be used alone, and a problem for each of the others."""
    wrong: dict[str, str] = {}
    try:
        return _made(values), wrong
    except ValidationError as error:
        for details in error.errors(include_url=False, include_input=False):
            name = str(details["loc"][0])
            wrong.setdefault(name, _problem(name, values[name], details.get("ctx", {}).get("error")))
    return _made({name: value for name, value in values.items() if name not in wrong}), wrong


def _made(values: Mapping[str, Value]) -> Settings:
    settings = Settings.model_validate({name: value.raw for name, value in values.items()})
    settings._origins = {name: value.origin for name, value in values.items()}
    return settings


def _problem(name: str, value: Value, raised: object) -> str:
    if isinstance(raised, ValueError):
        return f"{name.upper()} ({value.origin}) {raised}."
    field = Settings.model_fields[name]
    said = "" if name in _UNQUOTED else f" {written(value.raw)}"
    return f"{name.upper()} ({value.origin}) cannot be{said or ' used as it is written'}; allowed: {allowed(field)}."
