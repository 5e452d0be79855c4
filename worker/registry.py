"""The schema registry: a question, an answer. No retry, cache or thread in here, and no directory (`schemas.py`).

Foreign exceptions end here: NoSuchSchemaError where the registry says so in the one way that is certain (HTTP 404 with
`error_code` 40403), SchemaUnavailableError for everything else that is no schema.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

import fastavro
import httpx2
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError
from fastavro.schema import SchemaParseException

from worker.core.decoding import Plan, SchemaError, SchemaRef, plan, refusal
from worker.errors import NoSuchSchemaError, SchemaUnavailableError, SettingsError

T = TypeVar("T")

_NO_SUCH_SCHEMA = 40403


@dataclass(frozen=True, slots=True)
class RegistryConfig:
    """Where the schema registry is. A user name and password in the URL count where no others are given.

    `ca_file`: who signed its certificate, if not the usual authorities. `timeout_seconds` bounds each wait for it.
    """

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    timeout_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class Subject:
    """The latest version of a schema under its name."""

    name: str
    version: int
    ref: SchemaRef
    plan: Plan


class Registry:
    """confluent-kafka's client, and what its answers mean."""

    def __init__(self, config: RegistryConfig) -> None:
        urls, user_info = _without_user_info(config.url)
        if config.username is not None:
            user_info = f"{config.username}:{config.password or ''}"
        self._url = urls
        self._timeout_seconds = config.timeout_seconds
        # its own retries are off: they would sleep in a thread, and say nothing meanwhile
        conf: dict[str, Any] = {"url": urls, "timeout": config.timeout_seconds, "max.retries": 0}
        if user_info is not None:
            conf["basic.auth.user.info"] = user_info
        if config.ca_file is not None:
            conf["ssl.ca.location"] = config.ca_file
        try:
            self._client = SchemaRegistryClient(conf)
        except (ValueError, OSError) as error:
            raise SettingsError([f"SCHEMA_REGISTRY_URL: {urls} cannot be used: {error}"]) from error

    def close(self) -> None:
        self._client.close()

    def find(self, ref: SchemaRef) -> Plan:
        # the client caches whatever came with a 200: the page of a broken proxy would be kept for good
        self._client.clear_caches()  # type: ignore[no-untyped-call]  # untyped there
        return self._plan(self._asked(partial(self._get, ref)), str(ref))

    def subjects(self) -> list[str]:
        """The names of all subjects that may be seen."""
        names: object = self._asked(self._client.get_subjects)
        if not isinstance(names, list):
            raise SchemaUnavailableError(
                f"the schema registry at {self._url} answered with no list of subjects: is SCHEMA_REGISTRY_URL "
                "Confluent's API?"
            )
        return [str(name) for name in names]

    def latest(self, name: str) -> Subject:
        found = self._asked(partial(self._client.get_latest_version, name))
        if not isinstance(found.schema_id, int) or not isinstance(found.version, int):
            raise SchemaUnavailableError(f"the schema registry at {self._url} gives {name} no id")
        ref = SchemaRef.of_id(found.schema_id)
        return Subject(name, found.version, ref, self._plan(found.schema, str(ref)))

    def _plan(self, registered: Schema, called: str) -> Plan:
        schema_type = registered.schema_type or "AVRO"
        if schema_type != "AVRO":
            return refusal(f"{called} is a schema of type {schema_type}, not AVRO")
        names: dict[str, Any] = {}
        self._gather(registered, names, set())
        try:
            return plan(json.loads(registered.schema_str or ""), names)
        except (SchemaError, TypeError, ValueError, RecursionError) as error:
            raise self._no_schema(error) from error

    def _get(self, ref: SchemaRef) -> Schema:
        if ref.kind == "id":
            return self._client.get_schema(ref.schema_id)
        return self._client.get_schema_by_guid(str(ref.guid))

    def _gather(self, registered: Schema, names: dict[str, Any], seen: set[tuple[Any, Any]]) -> None:
        """Defines in `names` what a schema refers to, innermost first."""
        for reference in registered.references or ():
            subject, version = reference.subject, reference.version
            if (subject, version) in seen or subject is None or version is None:
                continue
            seen.add((subject, version))
            try:
                referred = self._asked(partial(self._client.get_version, subject, version)).schema
                self._gather(referred, names, seen)
                fastavro.parse_schema(json.loads(referred.schema_str or ""), names)
            except NoSuchSchemaError as error:
                raise SchemaUnavailableError(f"it refers to {subject}, version {version}: {error}") from error
            except (SchemaParseException, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
                raise self._no_schema(error) from error

    def _asked(self, request: Callable[[], T]) -> T:
        try:
            return request()
        except SchemaRegistryError as error:
            if error.http_status_code == 404 and error.error_code == _NO_SUCH_SCHEMA:
                raise NoSuchSchemaError(f"the schema registry at {self._url} has no such schema") from error
            raise SchemaUnavailableError(self._refused(error.http_status_code)) from error
        except httpx2.TimeoutException as error:
            detail = f"the schema registry at {self._url} did not answer within {self._timeout_seconds:g} s"
            raise SchemaUnavailableError(detail) from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            detail = f"the schema registry at {self._url} cannot be reached ({error}): is SCHEMA_REGISTRY_URL right?"
            raise SchemaUnavailableError(detail) from error
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            # what the client raises on an answer with 200 that is not JSON, or JSON of another shape
            raise self._no_schema(error) from error

    def _refused(self, status: int) -> str:
        answered = f"the schema registry at {self._url} answered {status}"
        if status in (401, 403):
            return f"{answered}: check SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD"
        if status == 404:
            return f"{answered} without error_code {_NO_SUCH_SCHEMA}: is SCHEMA_REGISTRY_URL Confluent's API?"
        return answered

    def _no_schema(self, error: Exception) -> SchemaUnavailableError:
        reason = str(error) if isinstance(error, SchemaError) else type(error).__name__
        return SchemaUnavailableError(f"the schema registry at {self._url} answered with no Avro schema ({reason})")


def _without_user_info(urls: str) -> tuple[str, str | None]:
    """The addresses as they may be shown, and `user:password` if one of them held it: httpx would print it in its own
    log lines.
    """
    shown: list[str] = []
    user_info: str | None = None
    for url in urls.split(","):
        parts = urlsplit(url.strip())
        if "@" in parts.netloc:
            name, _, password = parts.netloc.rpartition("@")[0].partition(":")
            user_info = user_info or f"{unquote(name)}:{unquote(password)}"
        shown.append(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])))
    return ",".join(shown), user_info
