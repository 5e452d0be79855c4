"""The stand-in's pages and answers.

What is refused is told by `rules`, which request gets a fault by `faults`; in here requests are only read and answered.
"""

import asyncio
import base64
import binascii
import hashlib
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from worker.sandbox import ledger, rules
from worker.sandbox.faults import HANG_UP, Fault, FaultError, Faults, read_faults

T = TypeVar("T", ledger.Event, ledger.Request)

# where the server puts what closes the connection: ASGI has no message for it
HANG_UP_EXTENSION = "sandbox.hang_up"

# Read on past the limit and thrown away: a client that sends all before it listens would never see the 413 otherwise.
_DISCARDED_MAX_BYTES = 16_000_000
_FAULTS_MAX_BYTES = 1_000_000
_KEY_PLACE = "Data Platform > Sources > Server Side Analytics APIs"
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


@dataclass(slots=True)
class State:
    """What one stand-in remembers. `key` is the one that is accepted, any if None; it may be changed while running."""

    key: str | None
    ledger: ledger.Ledger
    faults: Faults = field(default_factory=Faults)
    is_stopping: bool = False
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        """Whoever waits out a delay goes on now. On the server's own loop only."""
        self.released.set()
        self.released = asyncio.Event()

    def stop(self) -> None:
        """As `release`, and nobody waits any more."""
        self.is_stopping = True
        self.released.set()


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What a request is answered. `accepted` is the batch that was taken, if one was."""

    status: int
    content: dict[str, object]
    retry_after: str | None = None
    accepted: rules.Batch | None = None


class _HangUp(Response):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[HANG_UP_EXTENSION]()
        # uvicorn answers 500 for an app that returns without a word, unless it has noticed that the client is gone
        while (await receive())["type"] != "http.disconnect":
            pass


def make_app(state: State) -> Starlette:
    pages = _Pages(state)
    app = Starlette(
        routes=[
            Route("/v1/batch", pages.batch, methods=["POST"]),
            Route("/faults", pages.put_faults, methods=["PUT"]),
            Route("/faults", pages.faults, methods=["GET"]),
            Route("/events", pages.events),
            Route("/requests", pages.requests),
            Route("/", pages.activity),
        ]
    )
    app.router.redirect_slashes = False
    return app


class _Pages:
    """One method a route."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._page, self._page_headers = _load_page()

    async def batch(self, request: Request) -> Response:
        started_at = _now()
        self._state.ledger.started()
        authorized = _is_authorized(request.headers.get("authorization", ""), self._state.key)
        message_ids: tuple[str, ...] = ()
        body, length = b"", 0
        try:
            body, length = await _body(request, rules.BODY_LIMIT_BYTES)
            content = rules.read(body, length)
            message_ids = content.message_ids if isinstance(content, rules.Batch) else ()
            verdict = await self._verdict(request, content, message_ids, authorized=authorized)
        except ClientDisconnect:
            verdict = _Verdict(HANG_UP, {"error": "the client went away before its body was complete"})
        ended_at = _now()
        if verdict.accepted:
            self._state.ledger.accepted(verdict.accepted, body, ended_at)
        text = msgspec.json.encode(verdict.content)
        self._state.ledger.answered(
            ledger.Request(started_at, ended_at, verdict.status, authorized, length, message_ids, text.decode())
        )
        if verdict.status == HANG_UP:
            return _HangUp()
        headers = {} if verdict.retry_after is None else {"Retry-After": verdict.retry_after}
        return Response(text, verdict.status, headers, media_type="application/json")

    async def _verdict(
        self, request: Request, content: rules.Batch | rules.Refusal, message_ids: tuple[str, ...], *, authorized: bool
    ) -> _Verdict:
        """Faults come before all else, the key included: they imitate a service that is broken."""
        if fault := self._state.faults.take(message_ids):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._state.released.wait(), fault.delay_ms / 1000)
            if self._state.is_stopping:
                return _Verdict(HANG_UP, {"error": "the sandbox was stopped"})
            if fault.status is not None:
                return _ordered(fault)
        if not authorized:
            return _Verdict(401, {"success": False, "error": f"wrong or missing API key: see {_KEY_PLACE}"})
        if isinstance(content, rules.Batch) or content.status != 413:
            media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if media_type != "application/json":
                content = rules.Refusal(400, "Content-Type is not application/json")
        if isinstance(content, rules.Batch):
            refusal = rules.first_refusal(content)
            return _refused(refusal) if refusal else _Verdict(200, {"success": True}, accepted=content)
        return _refused(content)

    async def put_faults(self, request: Request) -> Response:
        body, length = await _body(request, _FAULTS_MAX_BYTES)
        try:
            if length >= _FAULTS_MAX_BYTES:
                raise FaultError([f"the faults take {length} bytes or more: at most {_FAULTS_MAX_BYTES} are read"])
            self._state.faults.put(read_faults(body))
        except FaultError as error:
            return _json({"problems": error.problems}, 400)
        self._state.release()
        return _json(self._state.faults.left())

    async def faults(self, request: Request) -> Response:
        return _json(self._state.faults.left())

    async def events(self, request: Request) -> Response:
        """Counters, and events in the order they came: the first `limit` past `after`, or else the last `limit`."""
        try:
            limit, after = _window(request)
        except ValueError:
            return _json({"problems": ["limit and after are whole numbers, limit at least 1"]}, 400)
        wanted = request.query_params.get("message_id")
        events = [each for each in self._state.ledger.events() if wanted is None or each.message_id == wanted]
        totals = self._state.ledger.totals()
        return _json(
            {
                "requests": totals.requests,
                "accepted": totals.accepted,
                "rejected": {str(status): n for status, n in totals.statuses.items() if status != 200},
                "events": [_shown_event(each) for each in _slice(events, limit, after)],
            }
        )

    async def requests(self, request: Request) -> Response:
        """Answered requests, chosen as in `events`; `in_flight` are those that wait for their answer."""
        try:
            limit, after = _window(request)
        except ValueError:
            return _json({"problems": ["limit and after are whole numbers, limit at least 1"]}, 400)
        totals = self._state.ledger.totals()
        return _json(
            {
                "requests": totals.requests,
                "in_flight": self._state.ledger.in_flight,
                "answers": {str(status): n for status, n in totals.statuses.items()},
                "latest": [_shown_request(each) for each in _slice(self._state.ledger.requests(), limit, after)],
            }
        )

    async def activity(self, request: Request) -> Response:
        return HTMLResponse(self._page, headers=self._page_headers)


def _ordered(fault: Fault) -> _Verdict:
    status = fault.status or HANG_UP
    if 200 <= status < 300:
        return _Verdict(status, {"success": True})
    retry_after = None if fault.retry_after is None else str(fault.retry_after)
    return _Verdict(status, {"success": False, "error": "ordered with PUT /faults"}, retry_after)


def _refused(refusal: rules.Refusal) -> _Verdict:
    content: dict[str, object] = {"success": False, "error": refusal.error}
    if refusal.index is not None:
        content |= {"index": refusal.index, "messageId": refusal.message_id}
    return _Verdict(refusal.status, content)


def _is_authorized(header: str, key: str | None) -> bool:
    """Whether the header carries the key as user name and an empty password."""
    scheme, _, token = header.partition(" ")
    try:
        user, colon, password = base64.b64decode(token.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return False
    right = bool(user) if key is None else user == key.encode()
    return scheme.lower() == "basic" and right and colon == b":" and not password


async def _body(request: Request, max_bytes: int) -> tuple[bytes, int]:
    """The body and its length; of one that reaches `max_bytes` only the length, as far as it was read."""
    body, length = bytearray(), 0
    async for chunk in request.stream():
        length += len(chunk)
        if length < max_bytes:
            body += chunk
        elif length > _DISCARDED_MAX_BYTES:
            break
    return bytes(body) if length < max_bytes else b"", length


def _window(request: Request) -> tuple[int, int | None]:
    limit = int(request.query_params.get("limit", "100"))
    after = request.query_params.get("after")
    if limit < 1:
        raise ValueError(limit)
    return limit, None if after is None else int(after)


def _slice(entries: list[T], limit: int, after: int | None) -> list[T]:
    if after is None:
        return entries[-limit:]
    return [each for each in entries if each.sequence > after][:limit]


def _shown_event(event: ledger.Event) -> dict[str, object]:
    return {
        "sequence": event.sequence,
        "received_at": str(event.received_at),
        "batch_message_id": event.batch_message_id,
        "message_id": event.message_id,
        "event": msgspec.Raw(event.json),
    }


def _shown_request(request: ledger.Request) -> dict[str, object]:
    return {
        "sequence": request.sequence,
        "started_at": str(request.started_at),
        "ended_at": str(request.ended_at),
        "seconds": round(request.ended_at.monotonic - request.started_at.monotonic, 4),
        "status": request.status,
        "authorized": request.authorized,
        "body_bytes": request.body_bytes,
        "event_count": len(request.message_ids),
        "message_ids": request.message_ids,
        "text": request.text,
    }


def _json(content: object, status: int = 200) -> Response:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(msgspec.json.encode(content), status, headers, media_type="application/json")


def _load_page() -> tuple[str, dict[str, str]]:
    """The activity page, and the headers that let it run its own script and nothing else, whatever an event holds."""
    page = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    hashes = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in _SCRIPT.findall(page))
    scripts = " ".join(f"'sha256-{each}'" for each in hashes)
    policy = f"default-src 'none'; connect-src 'self'; img-src data:; style-src 'unsafe-inline'; script-src {scripts}"
    return page, {"Content-Security-Policy": policy, "Cache-Control": "no-store"}


def _now() -> ledger.Moment:
    return ledger.Moment(time.monotonic(), time.time())
