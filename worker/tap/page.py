"""`GET /events`: the stream of moments as server-sent events, one watcher a request. Knows HTTP, and nothing of what is
in an event.

    ?outcome=filtered&reason=no-consent&event=Lead+Generated&message_id=evt_1&reveal=true

Every filter may be repeated. The stream has messages of three kinds: `state` (why the worker is not ready, at the start
and at every change), `dropped` (how many moments were lost because the watcher was too slow) and moments, which have no
name. `Last-Event-ID` goes on where a stream broke off, for some seconds and as far as the ring reaches; where that is
too late, `state` says `missed`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from worker.core.outcomes import Reason
from worker.tap.moments import Seen, Wanted
from worker.tap.pictures import Pictures
from worker.tap.recorder import MAX_WATCHES, Tap, Watch

# 1,000 moments a second are more than anybody reads, and cost a tenth of a core, which the loop's thread goes without.
TURN_SECONDS = 0.1
MOMENTS_A_TURN = 100
# A second, so that both ends notice when the other is gone.
SILENT_TURNS = 10

_PARAMETERS = frozenset({"outcome", "reason", "event", "message_id", "reveal"})

Word = TypeVar("Word", bound=StrEnum)


class QueryError(ValueError):
    """Stop, 400: the request asks for what there is not; says what there is."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the page has what it shows. `stopping` says that the server is about to end, and every stream with it;
    `sleep` is how it waits between two looks.
    """

    tap: Tap
    pictures: Pictures
    reasons: Callable[[], Sequence[str]]
    stopping: Callable[[], bool]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class EventsPage:
    """The page, as a route's endpoint: `Route("/events", EventsPage(...).get)`."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    async def get(self, request: Request) -> Response:
        try:
            wanted = wanted_of(request.query_params)
            reveal = _flag(request.query_params, "reveal")
        except QueryError as error:
            return PlainTextResponse(f"{error}\n", status_code=400)
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        identifier, number = _resumption(request.headers.get("last-event-id", ""))
        watch = self._sources.tap.watch(wanted, identifier)
        if watch is None:
            return PlainTextResponse(f"{MAX_WATCHES} are watching already; end one of them.\n", status_code=503)
        resumed = watch.identifier == identifier
        return StreamingResponse(
            self._stream(
                watch,
                min(number, watch.ring.last) if resumed else 0,
                missed=not resumed and identifier != "",
                reveal=reveal,
            ),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def _stream(self, watch: Watch, number: int, *, missed: bool, reveal: bool) -> AsyncIterator[bytes]:
        """Ends when the server does, and when the watch was forgotten because its watcher read too slowly."""
        told: tuple[str, ...] | None = None
        silent_turns = 0
        while not self._sources.stopping() and not watch.forgotten:
            messages: list[bytes] = []
            reasons = tuple(self._sources.reasons())
            if reasons != told:
                state = {"ready": not reasons, "reasons": reasons, "missed": missed and told is None}
                told = reasons
                messages.append(_message("state", state, watch.identifier, number))
            dropped, moments = watch.take(number, MOMENTS_A_TURN)
            if dropped:
                number += dropped
                messages.append(_message("dropped", {"dropped": dropped}, watch.identifier, number))
            for number, moment in moments:
                picture = self._sources.pictures.draw(moment, self._sources.tap.event_of(moment.record), reveal=reveal)
                messages.append(b"id: %b-%d\ndata: %b\n\n" % (watch.identifier.encode(), number, picture))
            silent_turns = 0 if messages else silent_turns + 1
            if messages or silent_turns % SILENT_TURNS == 0:
                yield b"".join(messages) or b": still here\n\n"
            await self._sources.sleep(TURN_SECONDS)


def wanted_of(query: QueryParams) -> Wanted:
    """The filter that a request asks for. Raises QueryError."""
    unknown = sorted(set(query) - _PARAMETERS)
    if unknown:
        raise QueryError(f"There is no filter {unknown[0]!r}; there are {', '.join(sorted(_PARAMETERS))}.")
    return Wanted(
        seen=_words(query, "outcome", Seen) or Wanted().seen,
        reasons=_words(query, "reason", Reason),
        names=frozenset(query.getlist("event")),
        message_ids=frozenset(query.getlist("message_id")),
    )


def _words(query: QueryParams, name: str, words: type[Word]) -> frozenset[Word]:
    known = {word.value: word for word in words if word.value}
    asked = query.getlist(name)
    for word in asked:
        if word not in known:
            raise QueryError(f"There is no {name} {word!r}; there are {', '.join(known)}.")
    return frozenset(known[word] for word in asked)


def _flag(query: QueryParams, name: str) -> bool:
    value = query.get(name, "false")
    if value not in ("true", "false"):
        raise QueryError(f"{name} is true or false, not {value!r}.")
    return value == "true"


def _resumption(last_event_id: str) -> tuple[str, int]:
    """Which watch, and behind which of its moments. An id that is not ours begins anew."""
    identifier, _, number = last_event_id.partition("-")
    return (identifier, int(number)) if number.isascii() and number.isdecimal() else ("", 0)


def _message(kind: str, content: object, identifier: str, number: int) -> bytes:
    return b"event: %b\nid: %b-%d\ndata: %b\n\n" % (
        kind.encode(),
        identifier.encode(),
        number,
        msgspec.json.encode(content),
    )
