"""Finds writer schemas: in the directory by fingerprint, in the registry by id or GUID. Off the loop's thread.

No bytes of records in here, and no decision about them: an answer is one of three values, and what it means for a lane
is the core's to say. Answers are reported from threads of this module. Foreign exceptions end here.

"There is no such schema" turns records into dead letters, so it is said only when it is certain: HTTP 404 with
`error_code` 40403, twice, some seconds apart. Everything else is "not now", asked again with back-off until there is an
answer.
"""

import heapq
import itertools
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

import fastavro
import httpx2
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError
from fastavro.schema import SchemaParseException
from tenacity import RetryCallState, Retrying, wait_exponential

from worker.core.decoding import (
    Plan,
    SchemaAnswer,
    SchemaError,
    SchemaKnown,
    SchemaRef,
    SchemaUnavailable,
    SchemaUnknown,
    plan,
    refusal,
)
from worker.errors import SettingsError
from worker.schema_directory import load_directory

T = TypeVar("T")

_THREADS = 3
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


class _UnavailableError(Exception):
    """Retry: nobody can tell for now. The message says what happened and what to set."""


class _NotFoundError(Exception):
    """The registry says that there is no such schema."""


class _Job:
    """A schema that is being asked for: how often, and what was answered so far."""

    def __init__(self, ref: SchemaRef) -> None:
        self.ref = ref
        self.not_found_once = False
        self.backoff = RetryCallState(Retrying(), fn=None, args=(), kwargs={})


class Schemas:
    """The edge. `fetch` asks; `report` is called from a thread of this object until there is a final answer.

    Jobs wait in one queue by the time they are due and not in threads, so that a schema whose every try fails keeps no
    other one waiting. `clock` is the loop's, monotonic, in seconds. Raises SettingsError if a file of the directory is
    no Avro schema, naming all of them.
    """

    def __init__(
        self,
        directory: Path,
        registry: RegistryConfig | None,
        report: Callable[[SchemaAnswer], None],
        clock: Callable[[], float],
        *,
        unknown_recheck_seconds: float = 3.0,
        retry_initial_seconds: float = 0.5,
        retry_max_seconds: float = 30.0,
    ) -> None:
        self._directory = directory
        self._local = load_directory(directory)
        self._registry = None if registry is None else _Registry(registry)
        self._report = report
        self._clock = clock
        self._unknown_recheck_seconds = unknown_recheck_seconds
        self._wait = wait_exponential(multiplier=retry_initial_seconds, max=retry_max_seconds)
        self._changed = threading.Condition()
        self._queue: list[tuple[float, int, _Job]] = []
        self._pending: set[SchemaRef] = set()
        self._order = itertools.count()
        self._closed = False
        self._threads = [threading.Thread(target=self._work, name=f"schemas-{n}", daemon=True) for n in range(_THREADS)]
        for thread in self._threads:
            thread.start()

    @property
    def local(self) -> Mapping[SchemaRef, Plan]:
        """The schemas of the directory by fingerprint, as they were last read."""
        return self._local

    def fetch(self, ref: SchemaRef) -> None:
        """Asks for a schema and returns at once. Asking again while the answer is awaited changes nothing."""
        with self._changed:
            if self._closed or ref in self._pending:
                return
            self._pending.add(ref)
            self._put(_Job(ref), self._clock())

    def close(self) -> None:
        """Nothing is reported afterwards. A request that still hangs is left alone, on a thread that ends with us."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(1.0)
        if self._registry is not None and not any(thread.is_alive() for thread in self._threads):
            self._registry.close()

    def _put(self, job: _Job, due: float) -> None:
        heapq.heappush(self._queue, (due, next(self._order), job))
        self._changed.notify()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            answer, again_after_seconds = self._try(job)
            with self._changed:
                if self._closed:
                    return
                if again_after_seconds is None:
                    self._pending.discard(job.ref)
                else:
                    self._put(job, self._clock() + again_after_seconds)
            if answer is not None:
                self._report(answer)

    def _next(self) -> _Job | None:
        """The job that is due, waited for; None once closed."""
        with self._changed:
            while not self._closed:
                wait_seconds = self._queue[0][0] - self._clock() if self._queue else None
                if wait_seconds is not None and wait_seconds <= 0:
                    return heapq.heappop(self._queue)[2]
                self._changed.wait(wait_seconds)
        return None

    def _try(self, job: _Job) -> tuple[SchemaAnswer | None, float | None]:
        """One try: what to report, if anything, and in how many seconds to try again (None: this is final)."""
        if job.ref.kind != "fingerprint" and self._registry is None:
            # final: only a restart brings a registry
            return SchemaUnavailable(job.ref, "no schema registry is configured: set SCHEMA_REGISTRY_URL"), None
        try:
            return SchemaKnown(job.ref, self._find(job.ref)), None
        except _NotFoundError as error:
            if job.ref.kind == "fingerprint" or job.not_found_once:
                return SchemaUnknown(job.ref, str(error)), None
            # a registry just restarted, or a replica that lags, may not know yet what it will know in a moment
            job.not_found_once = True
            return None, self._unknown_recheck_seconds
        except _UnavailableError as error:
            again_after_seconds = self._wait(job.backoff)
            job.backoff.attempt_number += 1
            return SchemaUnavailable(job.ref, str(error)), again_after_seconds

    def _find(self, ref: SchemaRef) -> Plan:
        if ref.kind == "fingerprint":
            return self._find_local(ref)
        assert self._registry is not None
        return self._registry.find(ref)

    def _find_local(self, ref: SchemaRef) -> Plan:
        if ref not in self._local:
            try:
                self._local = load_directory(self._directory)
            except SettingsError as error:
                raise _UnavailableError(str(error)) from error
        if ref not in self._local:
            raise _NotFoundError(f"no schema in {self._directory} has the {ref.kind} {ref.raw.hex()}")
        return self._local[ref]


class _Registry:
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
        registered = self._asked(partial(self._get, ref))
        schema_type = registered.schema_type or "AVRO"
        if schema_type != "AVRO":
            return refusal(f"{ref} is a schema of type {schema_type}, not AVRO")
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
            except _NotFoundError as error:
                raise _UnavailableError(f"it refers to {subject}, version {version}: {error}") from error
            except (SchemaParseException, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
                raise self._no_schema(error) from error

    def _asked(self, request: Callable[[], T]) -> T:
        try:
            return request()
        except SchemaRegistryError as error:
            if error.http_status_code == 404 and error.error_code == _NO_SUCH_SCHEMA:
                raise _NotFoundError(f"the schema registry at {self._url} has no such schema") from error
            raise _UnavailableError(self._refused(error.http_status_code)) from error
        except httpx2.TimeoutException as error:
            detail = f"the schema registry at {self._url} did not answer within {self._timeout_seconds:g} s"
            raise _UnavailableError(detail) from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            detail = f"the schema registry at {self._url} cannot be reached ({error}): is SCHEMA_REGISTRY_URL right?"
            raise _UnavailableError(detail) from error
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

    def _no_schema(self, error: Exception) -> _UnavailableError:
        reason = str(error) if isinstance(error, SchemaError) else type(error).__name__
        return _UnavailableError(f"the schema registry at {self._url} answered with no Avro schema ({reason})")


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
