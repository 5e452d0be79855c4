"""The image and the compose file, as far as they can be judged without an engine that runs them."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.dockerfile import DOCKERFILE, ROOT, instructions
from worker.demo.jars import KAFKA_VERSION
from worker.settings import Settings, load

COMPOSE_FILE = ROOT / "docker-compose.kafka.yml"
COMPOSE: dict[str, Any] = YAML(typ="safe").load(COMPOSE_FILE)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"].startswith("dreamdata-worker:")]
SANDBOX = dict(
    line.split("=", 1) for line in (ROOT / "docker/sandbox.env").read_text().splitlines() if not line.startswith("#")
)
REAL = {"CONSENT_CATEGORIES": "analytics", "DREAMDATA_API_KEY_FILE": "./docker/sandbox.key"}

_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}|\$\$")


def interpolated(text: str, variables: dict[str, str]) -> str:
    """`${NAME}`, `${NAME:-default}`, `${NAME:?words}` and `$$`, as the Compose specification has them."""

    def replaced(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        if match[2] == "?" and not variables.get(match[1]):
            raise KeyError(match[3])
        return variables.get(match[1]) or (match[3] or "")

    return _VARIABLE.sub(replaced, text)


def environment(variables: dict[str, str]) -> dict[str, str]:
    """What the worker's container gets; a name without a value is passed on where it is set."""
    given = SERVICES["worker"]["environment"]
    return {
        name: interpolated(value, variables) if value is not None else variables[name]
        for name, value in given.items()
        if value is not None or name in variables
    }


def settings(variables: dict[str, str]) -> Settings:
    """Read as the worker would, the secret from the file that would be mounted there."""
    secret = interpolated(COMPOSE["secrets"]["dreamdata_api_key"]["file"], variables)
    env = environment(variables)
    assert env["DREAMDATA_API_KEY_FILE"] == "/run/secrets/dreamdata_api_key"
    return load({**env, "DREAMDATA_API_KEY_FILE": str(ROOT / secret)})


def seconds(duration: str) -> float:
    return float(duration.removesuffix("s"))


def test_the_compose_file_is_what_the_specification_allows() -> None:
    command = [str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema", "vendor.compose-spec"]
    checked = subprocess.run([*command, str(COMPOSE_FILE)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("image", sorted({service["image"] for service in SERVICES.values()}))
def test_every_image_is_pinned(image: str) -> None:
    assert re.fullmatch(r"[a-z/-]+:(\d+\.\d+\.\d+|local)", image)


def test_the_image_s_own_base_is_pinned_and_the_same_in_both_stages() -> None:
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.\d+\.\d+-slim-\w+$", "\n".join(DOCKERFILE), re.MULTILINE)
    assert [line.split()[0] for line in instructions("FROM")] == ["${PYTHON_IMAGE}"] * 2


def test_the_worker_and_the_sandbox_run_from_the_worker_s_image() -> None:
    assert OURS == ["worker", "sandbox"]


@pytest.mark.parametrize("name", OURS)
def test_what_is_ours_can_write_nowhere_and_has_no_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"]
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108  # a path in a container
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", service["user"])
    assert [service["user"]] == instructions("USER")


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_health_check_or_ends_by_itself(name: str) -> None:
    from_image = name in OURS and bool(instructions("HEALTHCHECK"))
    assert "healthcheck" in SERVICES[name] or from_image or SERVICES[name]["restart"] == "no"


def test_every_variable_of_the_worker_is_a_setting() -> None:
    assert {name.lower() for name in SERVICES["worker"]["environment"]} <= set(Settings.model_fields)


def test_the_worker_delivers_to_dreamdata_unless_told_otherwise() -> None:
    found = settings(REAL)
    assert found.dreamdata_url == Settings.model_fields["dreamdata_url"].default
    assert found.warnings == []


def test_the_sandbox_s_variables_lead_the_worker_to_its_own_loopback() -> None:
    assert SERVICES["sandbox"]["network_mode"] == "service:worker"
    assert SERVICES["sandbox"]["profiles"] == ["sandbox"]
    found = settings(SANDBOX)
    assert found.dreamdata_url == "http://127.0.0.1:8083"
    assert found.api_key() == "sandbox"


@pytest.mark.parametrize("name", [name for name, value in SERVICES["worker"]["environment"].items() if value is None])
def test_what_is_passed_on_is_left_to_its_default_when_it_is_not_set(name: str) -> None:
    assert name not in environment(REAL)
    assert environment({**REAL, name: "x"})[name] == "x"


def test_without_consent_categories_nothing_starts() -> None:
    with pytest.raises(KeyError, match="name the categories"):
        environment({})


def test_every_variable_of_the_sandbox_is_used() -> None:
    text = COMPOSE_FILE.read_text()
    assert [name for name in SANDBOX if f"${{{name}:" not in text] == []


def test_a_published_port_leaves_room_for_more_workers() -> None:
    published = [interpolated(port, {}) for port in SERVICES["worker"]["ports"]]
    assert published == ["127.0.0.1::8082", "127.0.0.1::8083"]


@pytest.mark.parametrize("name", SERVICES)
def test_no_port_is_published_beyond_this_machine(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_the_status_pages_can_be_reached_from_beyond_the_container() -> None:
    found = settings(REAL)
    assert (found.host, found.port) == ("0.0.0.0", 8082)
    assert instructions("EXPOSE") == ["8082"]


def test_a_stop_is_waited_for_longer_than_the_worker_takes() -> None:
    assert seconds(SERVICES["worker"]["stop_grace_period"]) > settings(REAL).shutdown_timeout_seconds + 5


def test_the_broker_is_the_one_the_tests_run_on() -> None:
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"
    assert SERVICES["kafka-topics"]["image"] == SERVICES["kafka"]["image"]


def test_a_transaction_needs_no_more_replicas_than_there_are_brokers() -> None:
    given = SERVICES["kafka"]["environment"]
    assert {value for name, value in given.items() if name.endswith(("REPLICATION_FACTOR", "MIN_ISR"))} == {"1"}


def test_the_image_starts_the_worker_and_tells_it_to_stop() -> None:
    assert json.loads(instructions("ENTRYPOINT")[0]) == ["dreamdata-worker"]
    assert json.loads(instructions("CMD")[0]) == ["run"]
    assert instructions("STOPSIGNAL") == ["SIGTERM"]


def test_everything_installed_from_an_index_is_locked() -> None:
    installs = [part for line in instructions("RUN") for part in line.split("&&") if " install " in part]
    assert installs
    assert [part for part in installs if "--require-hashes" not in part and "--no-index --no-deps" not in part] == []


def test_the_build_context_holds_what_is_copied_and_nothing_else() -> None:
    copied = [source for line in instructions("COPY") if not line.startswith("--") for source in line.split()[:-1]]
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line.removeprefix("!") for line in ignore if line.startswith("!")} == set(copied)
    assert "*" in ignore
