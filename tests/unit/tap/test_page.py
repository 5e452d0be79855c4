"""The stream as bytes, without a server: what is sent, in which form, and what comes back to whom."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx2
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from tests.builders import TP, event, pipeline, record, signal, tap
from worker.core.outcomes import Reason
from worker.tap.moments import RING_MAX_BYTES, RING_MAX_MOMENTS
from worker.tap.page import MOMENTS_A_TURN, EventsPage, Sources
from worker.tap.pictures import Pictures
from worker.tap.recorder import FORGOTTEN_AFTER_SECONDS, MAX_WATCHES

EMAIL = "jane.doe@acme.com"


class Rig:
    """A page whose watchers are asked for `messages` one by one."""

    def __init__(self) -> None:
        self.now = 0.0
        self.reasons: list[str] = []
        self.stopping = False
        self.tap = tap(lambda: self.now)
        self.pipeline = pipeline()
        sources = Sources(
            self.tap, Pictures(()), lambda: self.reasons, lambda: self.stopping, lambda _: asyncio.sleep(0)
        )
        self.page = EventsPage(sources)

    async def watch(self, query: str = "", last_event_id: str = "") -> AsyncIterator[bytes]:
        headers = [(b"last-event-id", last_event_id.encode())]
        scope = {"type": "http", "method": "GET", "path": "/events", "query_string": query.encode(), "headers": headers}
        response = await self.page.get(Request(scope))
        assert isinstance(response, StreamingResponse)
        self.tap.turned(self.pipeline)
        return aiter(response.body_iterator)  # type: ignore[arg-type]  # ours yields bytes alone

    def happen(self, *offsets: int) -> None:
        """Events with an email that are filtered."""
        for offset in offsets:
            record = signal(offset, traits={"email": EMAIL})
            self.tap.decided(TP, record, event(message_id=f"evt_{offset}"), Reason.UNMAPPED)

    def asked(self, query: str, method: str = "GET") -> httpx2.Response:
        async def ask() -> httpx2.Response:
            app = Starlette(routes=[Route("/events", self.page.get)])
            transport = httpx2.ASGITransport(app=app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://worker") as browser:
                return await browser.request(method, f"/events?{query}")

        return asyncio.run(ask())


def fields(message: bytes) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in message.decode().strip().split("\n"))


def parsed(chunk: bytes) -> list[dict[str, Any]]:
    """Its messages, each with `id`, `event` (None: a moment) and the decoded `data`."""
    assert chunk.endswith(b"\n\n")
    found = [fields(message) for message in chunk.removesuffix(b"\n\n").split(b"\n\n")]
    return [{"id": each["id"], "event": each.get("event"), "data": msgspec.json.decode(each["data"])} for each in found]


def offsets(messages: list[dict[str, Any]]) -> list[int]:
    return [each["data"]["offset"] for each in messages if each["event"] is None]


def run(story: Callable[[Rig], Any]) -> None:
    asyncio.run(story(Rig()))


def test_a_stream_begins_with_the_workers_state_and_says_when_it_changes() -> None:
    async def story(rig: Rig) -> None:
        rig.reasons = ["held (unauthorized): a wrong key"]
        stream = await rig.watch()
        [state] = parsed(await anext(stream))
        assert state["event"] == "state"
        assert state["data"] == {"ready": False, "reasons": ["held (unauthorized): a wrong key"], "missed": False}
        rig.reasons = []
        [state] = parsed(await anext(stream))
        assert state["data"]["ready"] is True

    run(story)


def test_moments_come_in_order_with_ids_that_count() -> None:
    async def story(rig: Rig) -> None:
        stream = await rig.watch()
        await anext(stream)
        rig.happen(4, 5)
        first, second = parsed(await anext(stream))
        assert offsets([first, second]) == [4, 5]
        assert first["id"].split("-")[0] == second["id"].split("-")[0]
        assert [each["id"].split("-")[1] for each in (first, second)] == ["1", "2"]

    run(story)


@pytest.mark.parametrize(("query", "shown"), [("", False), ("reveal=false", False), ("reveal=true", True)])
def test_personal_data_leaves_only_where_the_request_says_so(query: str, *, shown: bool) -> None:
    async def story(rig: Rig) -> None:
        stream = await rig.watch(query)
        await anext(stream)
        rig.happen(0)
        assert (EMAIL.encode() in await anext(stream)) is shown

    run(story)


def test_who_comes_back_goes_on_behind_the_last_id() -> None:
    async def story(rig: Rig) -> None:
        stream = await rig.watch()
        await anext(stream)
        rig.happen(0, 1, 2)
        messages = parsed(await anext(stream))
        rig.happen(3)
        again = await rig.watch(last_event_id=messages[1]["id"])
        state, *rest = parsed(await anext(again))
        assert state["data"]["missed"] is False
        assert offsets(rest) == [2, 3]

    run(story)


@pytest.mark.parametrize("last_event_id", ["0123456789abcdef-7", "nonsense", "-", "x-\u0663"])
def test_who_comes_back_too_late_is_told(last_event_id: str) -> None:
    async def story(rig: Rig) -> None:
        stream = await rig.watch(last_event_id=last_event_id)
        [state] = parsed(await anext(stream))
        assert state["data"]["missed"] is (last_event_id == "0123456789abcdef-7"), "only where the id may be a worker's"

    run(story)


def test_a_slow_watcher_is_told_how_many_it_has_lost_and_gets_the_rest() -> None:
    async def story(rig: Rig) -> None:
        stream = await rig.watch()
        await anext(stream)
        rig.happen(*range(RING_MAX_MOMENTS + 500))
        dropped, *rest = parsed(await anext(stream))
        assert (dropped["event"], dropped["data"]) == ("dropped", {"dropped": 500})
        assert offsets(rest) == list(range(500, 500 + MOMENTS_A_TURN))
        assert offsets(parsed(await anext(stream)))[0] == 500 + MOMENTS_A_TURN

    run(story)


def test_what_was_lost_is_told_once() -> None:
    async def story(rig: Rig) -> None:
        stream = await rig.watch()
        await anext(stream)
        heavy = record(0, b"x" * RING_MAX_BYTES)
        rig.tap.decided(TP, heavy, event(), Reason.UNMAPPED)
        [dropped] = parsed(await anext(stream))
        assert dropped["data"] == {"dropped": 1}
        assert await anext(stream) == b": still here\n\n"

    run(story)


def test_an_id_the_stream_never_gave_hides_nothing_that_follows() -> None:
    async def story(rig: Rig) -> None:
        stream = await rig.watch()
        [state] = parsed(await anext(stream))
        again = await rig.watch(last_event_id=state["id"].replace("-0", "-999"))
        await anext(again)
        rig.happen(0)
        assert offsets(parsed(await anext(again))) == [0]

    run(story)


def test_silence_is_broken_by_a_heartbeat() -> None:
    async def story(rig: Rig) -> None:
        stream = await rig.watch()
        await anext(stream)
        assert await anext(stream) == b": still here\n\n"

    run(story)


def test_a_stream_ends_when_the_server_is_about_to() -> None:
    async def story(rig: Rig) -> None:
        stream = await rig.watch()
        await anext(stream)
        rig.stopping = True
        assert [chunk async for chunk in stream] == []

    run(story)


def test_a_stream_ends_when_its_watcher_was_forgotten() -> None:
    async def story(rig: Rig) -> None:
        stream = await rig.watch()
        await anext(stream)
        rig.now += FORGOTTEN_AFTER_SECONDS + 1
        rig.tap.turned(rig.pipeline)
        assert [chunk async for chunk in stream] == []

    run(story)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("outcome=gone", "There is no outcome 'gone'; there are pending, "),
        ("reason=", "There is no reason ''; there are null-value, "),
        ("reveal=yes", "reveal is true or false, not 'yes'."),
        ("messageId=evt_1", "There is no filter 'messageId'; there are event, message_id, outcome, reason, reveal."),
    ],
)
def test_a_filter_that_does_not_exist_is_refused_with_those_that_do(query: str, words: str) -> None:
    said = Rig().asked(query)
    assert (said.status_code, said.text[: len(words)]) == (400, words)


def test_one_watcher_too_many_is_turned_away() -> None:
    rig = Rig()
    rig.stopping = True
    assert [rig.asked("").status_code for _ in range(MAX_WATCHES + 1)] == [200] * MAX_WATCHES + [503]


def test_a_head_request_watches_nothing() -> None:
    rig = Rig()
    assert rig.asked("", "HEAD").headers["content-type"].startswith("text/event-stream")
    rig.tap.turned(rig.pipeline)
    assert rig.pipeline.intake.witness is None


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("message_id=evt_1&message_id=evt_2", [1, 2]),
        ("event=lead+generated", [0, 1, 2, 3]),
        ("event=page", []),
        ("reason=unmapped", [0, 1, 2, 3]),
        ("outcome=delivered&outcome=filtered&message_id=evt_3", [3]),
    ],
)
def test_filters_are_applied_before_anything_is_sent(query: str, found: list[int]) -> None:
    async def story(rig: Rig) -> None:
        stream = await rig.watch(query)
        await anext(stream)
        rig.happen(0, 1, 2, 3)
        chunk = await anext(stream)
        assert (offsets(parsed(chunk)) if b"data" in chunk else []) == found

    run(story)


def test_headers_keep_proxies_from_holding_the_stream_back() -> None:
    rig = Rig()
    rig.stopping = True
    headers: Mapping[str, str] = rig.asked("").headers
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
