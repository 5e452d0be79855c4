"""Finds writer schemas: in the directory by fingerprint, in the registry by id or GUID. Off the loop's thread.

No bytes of records in here, and no decision about them: an answer is one of three values, and what it means for a lane
is the core's to say. Answers are reported from threads of this module. The registry's client is in `registry.py`.

"There is no such schema" turns records into dead letters, so it is said only when it is certain: HTTP 404 with
`error_code` 40403, twice, some seconds apart. Everything else is "not now", asked again with back-off until there is an
answer.
"""

import heapq
import itertools
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tenacity import RetryCallState, Retrying, wait_exponential

from worker.core.decoding import (
    Plan,
    SchemaAnswer,
    SchemaKnown,
    SchemaRef,
    SchemaUnavailable,
    SchemaUnknown,
)
from worker.errors import NoSuchSchemaError, SchemaUnavailableError, SettingsError
from worker.schema_directory import load_directory

if TYPE_CHECKING:
    from worker.registry import Registry

_THREADS = 3


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
    no Avro schema, naming all of them. Whoever gives it a `registry` has it closed with it.
    """

    def __init__(
        self,
        directory: Path,
        registry: "Registry | None",
        report: Callable[[SchemaAnswer], None],
        clock: Callable[[], float],
        *,
        unknown_recheck_seconds: float = 3.0,
        retry_initial_seconds: float = 0.5,
        retry_max_seconds: float = 30.0,
    ) -> None:
        self._directory = directory
        self._local = load_directory(directory)
        self._registry = registry
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
        except NoSuchSchemaError as error:
            if job.ref.kind == "fingerprint" or job.not_found_once:
                return SchemaUnknown(job.ref, str(error)), None
            # a registry just restarted, or a replica that lags, may not know yet what it will know in a moment
            job.not_found_once = True
            return None, self._unknown_recheck_seconds
        except SchemaUnavailableError as error:
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
                raise SchemaUnavailableError(str(error)) from error
        if ref not in self._local:
            raise NoSuchSchemaError(f"no schema in {self._directory} has the {ref.kind} {ref.raw.hex()}")
        return self._local[ref]
