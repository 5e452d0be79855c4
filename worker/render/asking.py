"""Asks the schemas' edge as a caller who can wait, but not for long: `run` waits for ever, a command must come back."""

import queue
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager

from worker.assembly import registry_of
from worker.core.decoding import SchemaAnswer, SchemaRef, SchemaUnavailable
from worker.render.rehearsal import Find
from worker.schemas import Schemas
from worker.settings import Settings

# A registry's own time-out is 5 s, and it is asked again 3 s after a no.
PATIENCE_SECONDS = 15.0
# A refused connection is told again within a second: twice is a fault and no hiccup.
ENOUGH_TRIES = 2


def answers(
    refs: Sequence[SchemaRef],
    fetch: Callable[[SchemaRef], None],
    inbox: "queue.SimpleQueue[SchemaAnswer]",
    clock: Callable[[], float],
    *,
    tries: int = ENOUGH_TRIES,
    patience_seconds: float = PATIENCE_SECONDS,
) -> list[SchemaAnswer]:
    """One answer for each schema, in their order: the final one, or the last excuse after so many `tries` or seconds.

    `fetch` asks, and what is answered arrives in `inbox`. `clock` is monotonic, in seconds.
    """
    latest: dict[SchemaRef, SchemaAnswer] = {
        ref: SchemaUnavailable(ref, f"no answer within {patience_seconds:g} s") for ref in refs
    }
    open_tries = dict.fromkeys(refs, tries)
    deadline = clock() + patience_seconds
    for ref in refs:
        fetch(ref)
    while open_tries and (seconds_left := deadline - clock()) > 0:
        try:
            answer = inbox.get(timeout=seconds_left)
        except queue.Empty:
            break
        latest[answer.ref] = answer
        open_tries[answer.ref] = open_tries.get(answer.ref, 0) - 1
        if not isinstance(answer, SchemaUnavailable) or open_tries[answer.ref] <= 0:
            del open_tries[answer.ref]
    return [latest[ref] for ref in refs]


@contextmanager
def asking(settings: Settings) -> Iterator[Find]:
    """Whom to ask within the block. Its threads end with it."""
    inbox: queue.SimpleQueue[SchemaAnswer] = queue.SimpleQueue()
    registry = registry_of(settings)
    # without a registry the first answer is the last
    tries = ENOUGH_TRIES if registry else 1
    with closing(Schemas(settings.schema_dir, registry, inbox.put, time.monotonic)) as schemas:
        yield lambda refs: answers(refs, schemas.fetch, inbox, time.monotonic, tries=tries)
