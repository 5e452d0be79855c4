import pytest

from worker.topics import DEFAULT_MAX_MESSAGE_BYTES, TopicNames, dead_letter_config, dead_letter_doubts

GROUP = "dreamdata-worker"


def names(
    *wanted: str, dead_letter: str = "{topic}.dead-letters", identity: str = "{group}.{topic}.identity"
) -> TopicNames:
    return TopicNames(wanted or ("^delivery-.*",), GROUP, dead_letter=dead_letter, identity=identity)


@pytest.mark.parametrize(
    ("template", "made"),
    [
        ("{topic}.dead-letters", "delivery-a.dead-letters"),
        ("dlq-{group}-{topic}", "dlq-dreamdata-worker-delivery-a"),
        ("{topic}.{topic}", "delivery-a.delivery-a"),
    ],
)
def test_a_dead_letter_topic_is_named_by_its_template(template: str, made: str) -> None:
    assert names(dead_letter=template).dead_letter("delivery-a") == made


def test_an_identity_topic_is_named_by_its_template() -> None:
    assert names().identity("delivery-a") == "dreamdata-worker.delivery-a.identity"


@pytest.mark.parametrize("source", ["delivery-a", "delivery.b", "x"])
def test_what_it_names_is_its_own(source: str) -> None:
    made = names(dead_letter="dlq.{group}.{topic}", identity="{topic}+{group}")
    assert made.is_own(made.dead_letter(source))
    assert made.is_own(made.identity(source))


@pytest.mark.parametrize(
    "own",
    [
        pytest.param("delivery-a.dead-letters", id="dead letters"),
        pytest.param("delivery-a.dead-letters.dead-letters", id="dead letters of dead letters"),
        pytest.param("delivery-gone.dead-letters", id="of a topic that is gone"),
        pytest.param("delivery-x.delivery-a.identity", id="identities of another group"),
    ],
)
def test_a_pattern_never_selects_a_topic_of_a_workers_own(own: str) -> None:
    assert names("^delivery-.*").selected(["delivery-a", own]) == ["delivery-a"]


def test_a_pattern_never_selects_own_topics_whose_template_begins_with_the_group() -> None:
    made = names("^.*", dead_letter="{group}.{topic}.failed")
    assert made.selected(["other.delivery-a.failed", "dreamdata-worker.b.failed", "delivery-a"]) == ["delivery-a"]


@pytest.mark.parametrize(
    "alike",
    [
        pytest.param("delivery-dead-letters", id="no dot"),
        pytest.param("delivery-a.dead-letters-2", id="goes on"),
        pytest.param("delivery-a.Dead-Letters", id="other case"),
        pytest.param("delivery-a_dead-letters", id="the dot is a dot"),
        pytest.param("delivery-a.identity", id="no group"),
        pytest.param("delivery-identity", id="only the word"),
    ],
)
def test_a_name_that_merely_looks_like_an_own_one_is_read(alike: str) -> None:
    assert names("^delivery-.*").selected([alike]) == [alike]


def test_a_pattern_never_selects_kafkas_internal_topics() -> None:
    assert names("^.*").selected(["__consumer_offsets", "__transaction_state", "_one", "two"]) == ["_one", "two"]


def test_a_pattern_matches_from_the_beginning_of_a_name() -> None:
    selected = names("^delivery-|orders").selected(["my-delivery-a", "my-orders", "orders", "delivery-a"])
    assert selected == ["delivery-a", "orders"]


def test_what_a_pattern_selects_is_sorted() -> None:
    assert names("^delivery-").selected(["delivery-b", "delivery-c", "delivery-a"]) == [
        "delivery-a",
        "delivery-b",
        "delivery-c",
    ]


def test_a_list_is_taken_as_it_is_existing_or_not() -> None:
    assert names("b", "a", "missing").selected(["a", "b", "c"]) == ["b", "a", "missing"]


def test_one_name_without_a_caret_is_no_pattern() -> None:
    assert names("delivery-.*").selected(["delivery-a"]) == ["delivery-.*"]


@pytest.mark.parametrize(("wanted", "pattern"), [(("^a",), True), (("a",), False), (("^a", "b"), False)])
def test_a_pattern_is_one_name_that_begins_with_a_caret(wanted: tuple[str, ...], pattern: bool) -> None:  # noqa: FBT001 - a column of the table
    assert names(*wanted).is_pattern is pattern


def test_a_dead_letter_topic_takes_its_sources_largest_record_with_the_headers_on_top() -> None:
    assert dead_letter_config({"max.message.bytes": "2000000"}) == {
        "cleanup.policy": "delete",
        "retention.ms": "2592000000",
        "max.message.bytes": "2065536",
    }


def test_what_is_made_for_a_source_leaves_no_doubt() -> None:
    source = {"max.message.bytes": "2000000"}
    assert dead_letter_doubts(dead_letter_config(source), source) == []
    assert dead_letter_doubts(dead_letter_config({}), {}) == []


def test_a_topic_whose_settings_may_not_be_read_is_not_doubted() -> None:
    assert dead_letter_doubts({}, {"max.message.bytes": "2000000"}) == []


@pytest.mark.parametrize("policy", ["compact", "compact,delete"])
def test_a_compacted_dead_letter_topic_is_doubted(policy: str) -> None:
    [doubt] = dead_letter_doubts({**dead_letter_config({}), "cleanup.policy": policy}, {})
    assert policy in doubt.what
    assert doubt.remedy == "set it to delete"


@pytest.mark.parametrize(("bytes_more", "doubts"), [(65_535, 1), (65_536, 0)], ids=["a byte too small", "just enough"])
def test_a_dead_letter_topic_without_room_for_the_headers_is_doubted(bytes_more: int, doubts: int) -> None:
    config = {**dead_letter_config({}), "max.message.bytes": str(DEFAULT_MAX_MESSAGE_BYTES + bytes_more)}
    assert len(dead_letter_doubts(config, {})) == doubts
