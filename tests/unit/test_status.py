import asyncio
from collections.abc import Sequence

import httpx2
import pytest

from tests.builders import tap
from worker.metrics import Metrics
from worker.status import status_app
from worker.tap.page import EventsPage, Sources
from worker.tap.pictures import Pictures

FROM_HERE = ("127.0.0.1", 50000)
FROM_AFAR = ("203.0.113.9", 50000)
HERE = "127.0.0.1:8082"


def answer(
    path: str,
    *,
    alive: bool = True,
    reasons: Sequence[str] = (),
    metrics: Metrics | None = None,
    token: str | None = None,
    client: tuple[str, int] = FROM_HERE,
    host: str = HERE,
    method: str = "GET",
    **headers: str,
) -> httpx2.Response:
    """What the app says, without a server or a socket."""
    # a server about to end: its streams end at once
    events = EventsPage(Sources(tap(), Pictures(()), lambda: reasons, stopping=lambda: True))
    app = status_app(
        alive=lambda: alive,
        reasons=lambda: reasons,
        metrics=metrics or Metrics(),
        events=events,
        console_token=token,
    )

    async def ask() -> httpx2.Response:
        transport = httpx2.ASGITransport(app=app, client=client)
        async with httpx2.AsyncClient(transport=transport, base_url=f"http://{host}") as browser:
            return await browser.request(method, path, headers=headers)

    return asyncio.run(ask())


def test_healthz_is_200_while_the_worker_is_alive() -> None:
    assert answer("/healthz").status_code == 200


def test_healthz_is_503_when_it_is_not() -> None:
    assert answer("/healthz", alive=False).status_code == 503


def test_healthz_is_200_while_the_worker_is_held() -> None:
    assert answer("/healthz", reasons=["unauthorized"]).status_code == 200


def test_readyz_is_200_without_a_reason_against_it() -> None:
    said = answer("/readyz")
    assert (said.status_code, said.json()) == (200, {"ready": True, "reasons": []})


def test_readyz_is_503_and_names_the_reasons() -> None:
    said = answer("/readyz", reasons=["unauthorized: the key was refused", "restoring delivery-a[0]"])
    assert said.status_code == 503
    assert said.json() == {"ready": False, "reasons": ["unauthorized: the key was refused", "restoring delivery-a[0]"]}


def test_metrics_are_the_worker_s_own_in_prometheus_s_text() -> None:
    metrics = Metrics()
    metrics.rebalances.inc(3)
    said = answer("/metrics", metrics=metrics)
    assert said.headers["content-type"].startswith("text/plain; version=")
    assert "dreamdata_worker_rebalances_total 3.0\n" in said.text


def test_metrics_come_as_openmetrics_to_those_who_ask() -> None:
    said = answer("/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert said.headers["content-type"].startswith("application/openmetrics-text")
    assert said.text.endswith("# EOF\n")


def test_a_page_that_does_not_exist_is_404_on_this_machine() -> None:
    assert answer("/nothing").status_code == 404


def test_nothing_can_be_posted() -> None:
    assert answer("/healthz", method="POST").status_code == 405


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_the_open_pages_are_open_to_everybody(path: str) -> None:
    assert answer(path, client=FROM_AFAR, host="worker.acme.com", token="geheim").status_code == 200


@pytest.mark.parametrize(
    ("token", "client", "host", "authorization", "status"),
    [
        pytest.param(None, FROM_HERE, HERE, "", 200, id="here"),
        pytest.param(None, ("::1", 5), "[::1]:8082", "", 200, id="here-ipv6"),
        pytest.param(None, ("::ffff:127.0.0.1", 5), "localhost:8082", "", 200, id="here-ipv4-in-ipv6"),
        pytest.param("geheim", FROM_HERE, HERE, "", 200, id="here-with-a-token-set"),
        pytest.param(None, FROM_HERE, "evil.acme.com", "", 403, id="here-under-a-foreign-name"),
        pytest.param(None, FROM_AFAR, HERE, "", 403, id="afar"),
        pytest.param("geheim", FROM_AFAR, HERE, "", 403, id="afar-without-the-token"),
        pytest.param("geheim", FROM_AFAR, HERE, "Bearer gehein", 403, id="afar-with-another-token"),
        pytest.param("geheim", FROM_AFAR, HERE, "Basic geheim", 403, id="afar-with-another-scheme"),
        pytest.param(None, FROM_AFAR, HERE, "Bearer ", 403, id="afar-with-an-empty-token-and-none-set"),
        pytest.param("geheim", FROM_AFAR, "worker.acme.com", "Bearer geheim", 200, id="afar-with-the-token"),
        pytest.param("geheim", FROM_AFAR, "worker.acme.com", "bearer geheim", 200, id="scheme-in-lower-case"),
    ],
)
def test_other_pages_are_for_this_machine_and_bearers_of_the_token(
    token: str | None, client: tuple[str, int], host: str, authorization: str, status: int
) -> None:
    said = answer("/events", token=token, client=client, host=host, authorization=authorization)
    assert said.status_code == status
