import io

from rich.console import Console, RenderableType

from worker.check.mapping import Row
from worker.check.report import as_json, line, mapping_table
from worker.check.results import finding, ok

WRONG = finding("topics", "delivery-a does not exist", "make it [or correct KAFKA_TOPICS]", "detail")


def printed(what: RenderableType, width: int = 200) -> list[str]:
    page = io.StringIO()
    Console(file=page, width=width).print(what)
    return [text.rstrip() for text in page.getvalue().splitlines()]


def test_what_to_do_and_details_stand_below_the_finding() -> None:
    assert printed(line(WRONG)) == [
        "finding  topics        delivery-a does not exist",
        "                       -> make it [or correct KAFKA_TOPICS]",
        "                       detail",
    ]


def test_a_long_line_is_wrapped_behind_its_area() -> None:
    assert printed(line(ok("brokers", "a" * 20 + " " + "b" * 20)), width=50) == [
        "ok       brokers       " + "a" * 20,
        "                       " + "b" * 20,
    ]


def test_a_table_shows_names_as_they_are() -> None:
    assert printed(mapping_table([Row("track [red]Demo", "demo", "EVENT_MAPPING")]))[1] == (
        "track [red]Demo  demo          EVENT_MAPPING"
    )


def test_json_holds_everything_and_settings_only_where_asked_for() -> None:
    report = as_json([WRONG], [Row("page", "type page", "VARIANT=default")], None)
    assert report == {
        "results": [
            {
                "area": "topics",
                "verdict": "finding",
                "what": "delivery-a does not exist",
                "remedy": "make it [or correct KAFKA_TOPICS]",
                "details": ["detail"],
            }
        ],
        "mapping": [{"event": "page", "sent": "type page", "why": "VARIANT=default"}],
    }
    shown = as_json([], [], [("PORT", "8082", "default")])["settings"]
    assert shown == {"PORT": {"value": "8082", "from": "default"}}
