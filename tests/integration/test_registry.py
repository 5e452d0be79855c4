import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient

from tests.builders_avro import confluent, encode, guid_header, record, schema_of, shipped_schema, signal_record
from tests.integration.harness import wait_until
from tests.integration.registry import Registry
from worker import registry as client
from worker.core.decoding import (
    DecodeError,
    SchemaAnswer,
    SchemaKnown,
    SchemaRef,
    SchemaUnavailable,
    SchemaUnknown,
    framing,
)
from worker.schemas import Schemas

GUID = UUID("89791762-2336-186f-9674-299b90a802e2")
SCHEMA = json.dumps(schema_of(type="string"))
UNKNOWN = (404, json.dumps({"error_code": 40403, "message": "Schema not found"}))
SHIPPED = Path(__file__).parents[2] / "schemas"


class Answers(list[SchemaAnswer]):
    """What was reported, in order, from whatever thread."""

    def wait_for(self, kind: type[SchemaAnswer], ref: SchemaRef | None = None) -> Any:
        def found() -> SchemaAnswer | None:
            return next((answer for answer in self if isinstance(answer, kind) and ref in (None, answer.ref)), None)

        return wait_until(found, 15, f"{kind.__name__} among {self}")


@contextmanager
def asking(url: str | None, directory: Path = SHIPPED, **config: Any) -> Iterator[tuple[Schemas, Answers]]:
    answers = Answers()
    registry = None if url is None else client.Registry(client.RegistryConfig(url, **config))
    schemas = Schemas(
        directory,
        registry,
        answers.append,
        time.monotonic,
        unknown_recheck_seconds=0.2,
        retry_initial_seconds=0.05,
        retry_max_seconds=0.2,
    )
    try:
        yield schemas, answers
    finally:
        schemas.close()


class Stub:
    """A registry on loopback that answers each path as it was told to, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str] | Callable[[], tuple[int, str]]] = {}
        self.asked: list[tuple[str, float, str | None]] = []
        self.default: tuple[int, str] = UNKNOWN
        self.silent = threading.Event()
        self.released = threading.Event()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                stub.asked.append((path, time.monotonic(), self.headers["Authorization"]))
                if stub.silent.is_set():
                    stub.released.wait(20)
                    return
                answer = stub.answers.get(path, stub.default)
                status, body = answer() if callable(answer) else answer
                self.send_response(status)
                self.send_header("Content-Length", str(len(body.encode())))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def requests(self, path: str) -> list[float]:
        return [at for asked, at, _ in list(self.asked) if asked == path]

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def stub() -> Iterator[Stub]:
    stub = Stub()
    yield stub
    stub.close()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    registry = Registry.start(tmp_path_factory.mktemp("registry"))
    yield registry
    registry.stop()


# a real registry


def test_an_event_is_read_with_the_schema_its_id_names(registry: Registry) -> None:
    with SchemaRegistryClient({"url": registry.url}) as client:
        schema_id = client.register_schema("events-value", Schema(json.dumps(shipped_schema()), "AVRO"))
    written = record(confluent(schema_id, encode(shipped_schema(), {"type": "page", "anonymousId": "df_1"})))
    ref, start = framing(written)
    with asking(registry.url) as (schemas, answers):
        schemas.fetch(ref)
        plan = answers.wait_for(SchemaKnown, ref).plan
    assert plan.read(written.value, start).anonymous_id == "df_1"


def test_an_id_the_registry_does_not_know_is_unknown(registry: Registry) -> None:
    with asking(registry.url) as (schemas, answers):
        schemas.fetch(SchemaRef.of_id(999_999))
        assert answers.wait_for(SchemaUnknown).ref == SchemaRef.of_id(999_999)
    assert len(answers) == 1


def test_a_schema_that_refers_to_others_is_resolved(registry: Registry) -> None:
    page = {"type": "record", "name": "acme.Page", "fields": [{"name": "url", "type": "string"}]}
    context = {"type": "record", "name": "acme.Context", "fields": [{"name": "page", "type": "acme.Page"}]}
    with SchemaRegistryClient({"url": registry.url}) as client:
        client.register_schema("page", Schema(json.dumps(page), "AVRO"))
        to_page = [SchemaReference("acme.Page", "page", 1)]
        client.register_schema("context", Schema(json.dumps(context), "AVRO", to_page))
        to_context = [SchemaReference("acme.Context", "context", 1)]
        schema_id = client.register_schema(
            "referring", Schema(json.dumps(schema_of(context="acme.Context")), "AVRO", to_context)
        )
    whole = schema_of(context=context | {"fields": [{"name": "page", "type": page}]})
    with asking(registry.url) as (schemas, answers):
        schemas.fetch(SchemaRef.of_id(schema_id))
        plan = answers.wait_for(SchemaKnown).plan
    event = plan.read(encode(whole, {"context": {"page": {"url": "https://acme.com"}}}), 0)
    assert event.context == {"page": {"url": "https://acme.com"}}


def test_a_schema_of_another_type_is_known_and_reads_nothing(registry: Registry) -> None:
    with SchemaRegistryClient({"url": registry.url}) as client:
        schema_id = client.register_schema(
            "json", Schema('{"$schema": "http://json-schema.org/draft-07/schema#"}', "JSON")
        )
    with asking(registry.url) as (schemas, answers):
        schemas.fetch(SchemaRef.of_id(schema_id))
        plan = answers.wait_for(SchemaKnown).plan
    with pytest.raises(DecodeError, match="type JSON"):
        plan.read(b"{}", 0)


# a registry that answers what it is told


def test_a_guid_is_asked_for_as_the_registry_prints_it(stub: Stub) -> None:
    stub.answers[f"/schemas/guids/{GUID}"] = 200, json.dumps({"schema": SCHEMA, "guid": str(GUID), "id": 7})
    ref, _ = framing(record(encode(schema_of(type="string"), {"type": "page"}), guid_header(GUID)))
    with asking(stub.url) as (schemas, answers):
        schemas.fetch(ref)
        assert answers.wait_for(SchemaKnown).ref == SchemaRef.of_guid(GUID)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        pytest.param(401, '{"error_code": 401, "message": "no"}', "SCHEMA_REGISTRY_USERNAME", id="401"),
        pytest.param(403, "forbidden", "SCHEMA_REGISTRY_USERNAME", id="403"),
        pytest.param(500, '{"error_code": 50001, "message": "oops"}', "500", id="500"),
        pytest.param(503, "", "503", id="503"),
        pytest.param(301, "", "301", id="redirect"),
        pytest.param(404, "<html>not here</html>", "SCHEMA_REGISTRY_URL", id="404 page"),
        pytest.param(404, '{"error_code": 404, "message": "HTTP 404"}', "SCHEMA_REGISTRY_URL", id="404, another code"),
        pytest.param(404, '{"error_code": 40401}', "SCHEMA_REGISTRY_URL", id="404, unknown subject"),
        pytest.param(500, '{"error_code": 40403}', "500", id="40403 without a 404"),
        pytest.param(200, "<html>log in</html>", "no Avro schema", id="200 page"),
        pytest.param(200, "", "no Avro schema", id="200 without a body"),
        pytest.param(200, "[]", "no Avro schema", id="200 array"),
        pytest.param(200, "{}", "no Avro schema", id="200 without a schema"),
        pytest.param(200, '{"schema": "not json"}', "no Avro schema", id="schema that is no JSON"),
        pytest.param(200, '{"schema": "{}"}', "no Avro schema", id="schema that is no Avro"),
        pytest.param(200, '{"schema": 5}', "no Avro schema", id="schema that is a number"),
        pytest.param(200, '{"schema": "\\"string\\"", "references": 5}', "no Avro schema", id="strange references"),
        pytest.param(200, '{"schema": ' + "[" * 99_999, "no Avro schema", id="brackets without end"),
    ],
)
def test_any_other_answer_means_wait_and_the_schema_is_found_when_it_is_there(
    stub: Stub, status: int, body: str, said: str
) -> None:
    stub.answers["/schemas/ids/7"] = status, body
    with asking(stub.url) as (schemas, answers):
        schemas.fetch(SchemaRef.of_id(7))
        assert said in answers.wait_for(SchemaUnavailable).detail
        wait_until(lambda: len(stub.requests("/schemas/ids/7")) >= 3, 10, "it is asked again")
        stub.answers["/schemas/ids/7"] = 200, json.dumps({"schema": SCHEMA})
        answers.wait_for(SchemaKnown)
    assert not [answer for answer in answers if isinstance(answer, SchemaUnknown)]


def test_a_reference_that_is_not_there_means_wait(stub: Stub) -> None:
    references = [{"name": "acme.Page", "subject": "page", "version": 1}]
    stub.answers["/schemas/ids/7"] = 200, json.dumps({"schema": SCHEMA, "references": references})
    with asking(stub.url) as (schemas, answers):
        schemas.fetch(SchemaRef.of_id(7))
        assert "page" in answers.wait_for(SchemaUnavailable).detail
        stub.answers["/subjects/page/versions/1"] = 200, json.dumps({"schema": '"string"'})
        answers.wait_for(SchemaKnown)


def test_a_refused_connection_means_wait(stub: Stub) -> None:
    stub.close()
    with asking(stub.url) as (schemas, answers):
        schemas.fetch(SchemaRef.of_id(7))
        assert "cannot be reached" in answers.wait_for(SchemaUnavailable).detail


def test_silence_means_wait(stub: Stub) -> None:
    stub.silent.set()
    with asking(stub.url, timeout_seconds=0.2) as (schemas, answers):
        schemas.fetch(SchemaRef.of_id(7))
        assert "did not answer within 0.2 s" in answers.wait_for(SchemaUnavailable).detail
        stub.answers["/schemas/ids/7"] = 200, json.dumps({"schema": SCHEMA})
        stub.silent.clear()
        answers.wait_for(SchemaKnown)


def test_unknown_is_said_after_asking_twice_some_time_apart(stub: Stub) -> None:
    with asking(stub.url) as (schemas, answers):
        schemas.fetch(SchemaRef.of_id(7))
        answers.wait_for(SchemaUnknown)
    first, second = stub.requests("/schemas/ids/7")
    assert second - first >= 0.2


def test_a_schema_that_appears_between_the_two_is_known(stub: Stub) -> None:
    later = iter([UNKNOWN])
    stub.answers["/schemas/ids/7"] = lambda: next(later, (200, json.dumps({"schema": SCHEMA})))
    with asking(stub.url) as (schemas, answers):
        schemas.fetch(SchemaRef.of_id(7))
        answers.wait_for(SchemaKnown)
    assert [type(answer) for answer in answers] == [SchemaKnown]


def test_schemas_that_fail_for_ever_keep_no_other_one_waiting(stub: Stub) -> None:
    stub.default = 500, ""
    stub.answers["/schemas/ids/100"] = 200, json.dumps({"schema": SCHEMA})
    with asking(stub.url) as (schemas, answers):
        for schema_id in range(20):
            schemas.fetch(SchemaRef.of_id(schema_id))
        wait_until(lambda: len(stub.asked) >= 20, 10, "all of them are asked for")
        schemas.fetch(SchemaRef.of_id(100))
        assert answers.wait_for(SchemaKnown).ref == SchemaRef.of_id(100)


def test_asking_again_while_waiting_asks_the_registry_once(stub: Stub) -> None:
    stub.silent.set()
    with asking(stub.url) as (schemas, _):
        for _ in range(10):
            schemas.fetch(SchemaRef.of_id(7))
        schemas.fetch(SchemaRef.of_id(8))
        wait_until(lambda: len(stub.requests("/schemas/ids/8")) == 1, 10, "the last one is asked for")
        assert len(stub.requests("/schemas/ids/7")) == 1
        stub.released.set()


def test_an_unknown_schema_can_be_asked_for_again(stub: Stub) -> None:
    with asking(stub.url) as (schemas, answers):
        schemas.fetch(SchemaRef.of_id(7))
        answers.wait_for(SchemaUnknown)
        stub.answers["/schemas/ids/7"] = 200, json.dumps({"schema": SCHEMA})
        schemas.fetch(SchemaRef.of_id(7))
        answers.wait_for(SchemaKnown)


@pytest.mark.parametrize("in_url", [False, True], ids=["settings", "URL"])
def test_user_name_and_password_are_sent_and_never_shown(stub: Stub, *, in_url: bool) -> None:
    stub.default = 401, ""
    url = stub.url.replace("//", "//alice:s%3Acret@") if in_url else stub.url
    config: dict[str, Any] = {} if in_url else {"username": "alice", "password": "s:cret"}
    with asking(url, **config) as (schemas, answers):
        schemas.fetch(SchemaRef.of_id(7))
        detail = answers.wait_for(SchemaUnavailable).detail
    assert stub.asked[0][2] == "Basic YWxpY2U6czpjcmV0"
    assert "cret" not in detail


def test_closing_is_prompt_and_silent_while_a_request_hangs(stub: Stub) -> None:
    stub.silent.set()
    with asking(stub.url) as (schemas, answers):
        schemas.fetch(SchemaRef.of_id(7))
        wait_until(lambda: stub.asked, 10, "the request is on the wire")
        before = time.monotonic()
        schemas.close()
        assert time.monotonic() - before < 4
        stub.released.set()
    assert answers == []


# no registry


def test_without_a_registry_an_id_waits_and_says_what_to_set() -> None:
    with asking(None) as (schemas, answers):
        schemas.fetch(SchemaRef.of_id(7))
        assert "SCHEMA_REGISTRY_URL" in answers.wait_for(SchemaUnavailable).detail
    assert len(answers) == 1


def test_without_a_registry_the_shipped_schema_is_known_by_its_fingerprint() -> None:
    written = signal_record({"type": "page", "anonymousId": "df_1"})
    ref, start = framing(written)
    with asking(None) as (schemas, answers):
        schemas.fetch(ref)
        plan = answers.wait_for(SchemaKnown).plan
    assert written.value is not None
    assert plan.read(written.value, start).anonymous_id == "df_1"


def test_a_schema_file_that_was_added_later_is_found(tmp_path: Path) -> None:
    ref, _ = framing(signal_record({"type": "page"}))
    with asking(None, tmp_path) as (schemas, answers):
        schemas.fetch(ref)
        answers.wait_for(SchemaUnknown)
        (tmp_path / "signal.avsc").write_text(json.dumps(shipped_schema()))
        schemas.fetch(ref)
        answers.wait_for(SchemaKnown)


def test_a_schema_file_that_is_just_being_written_means_wait(tmp_path: Path) -> None:
    ref, _ = framing(signal_record({"type": "page"}))
    with asking(None, tmp_path) as (schemas, answers):
        (tmp_path / "signal.avsc").write_text(json.dumps(shipped_schema())[:100])
        schemas.fetch(ref)
        assert "signal.avsc" in answers.wait_for(SchemaUnavailable).detail
        (tmp_path / "signal.avsc").write_text(json.dumps(shipped_schema()))
        answers.wait_for(SchemaKnown)
