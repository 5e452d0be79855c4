"""`dead-letters list` and `show` on real Kafka: what lies there, and what it would become now."""

from functools import partial
from uuid import UUID

import pytest

from tests.fakes import put_faults
from tests.integration.cluster import Cluster, Message
from tests.integration.fixtures import StartWorker
from tests.integration.harness import wait_until
from tests.integration.letters import FAILED_MS, Letters, letter, letters_command, letters_topic
from tests.integration.signals import GRANTED, signal
from tests.integration.test_delivery import settled
from tests.integration.test_identity_log import JANE, identify
from worker.core.outcomes import Reason
from worker.sandbox import Sandbox

HOUR_MS = 3_600_000
# as a terminal would obey it
ESCAPE = b"\x1b[31mred"


@pytest.fixture
def letters(
    cluster: Cluster, topic: str, group: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Letters:
    return letters_command(cluster, topic, group, monkeypatch, capsys)


@pytest.fixture
def filled(cluster: Cluster, topic: str, group: str) -> str:
    """Two partitions of letters: own ones of three reasons, an exhausted one, another group's, and somebody else's
    records.
    """
    # the letters' times are long ago: the broker would delete them in the middle of a test
    name = cluster.make_topic(2, letters_topic(topic), retention_ms="-1")
    own = partial(letter, topic=topic, group=group)
    cluster.produce(
        name,
        [
            own(signal("evt_0"), offset=0),
            own(signal("evt_1"), offset=1, status=422, failed_ms=FAILED_MS + HOUR_MS),
            own(signal("evt_2"), offset=2, redrives=3),
            letter(signal("evt_3"), offset=3, topic=topic, group="another"),
            own(Message(b"not Avro"), offset=4, reason=Reason.UNDECODABLE, status=None, partition=1),
            Message(b"anything", b"key", (("dl-reason", ESCAPE), ("theirs", b"1")), 1, FAILED_MS),
            Message(None, b"key", (), 1, FAILED_MS),
        ],
    )
    return name


def places(ended: object) -> set[str]:
    assert hasattr(ended, "lines")
    return {f"{line['partition']}:{line['offset']}" for line in ended.lines}


def test_every_record_of_the_topic_is_listed_with_all_that_is_known_of_it(
    filled: str, topic: str, group: str, letters: Letters
) -> None:
    listed = letters("list", "--json")
    assert listed.code == 0
    assert places(listed) == {"0:0", "0:1", "0:2", "0:3", "1:0", "1:1", "1:2"}
    first = next(line for line in listed.lines if (line["partition"], line["offset"]) == (0, 1))
    assert first == {
        "topic": filled,
        "partition": 0,
        "offset": 1,
        "state": "waiting",
        "written_at": "2026-06-06T12:11:20.000Z",
        "reason": "rejected",
        "detail": "made up",
        "stage": "deliver",
        "http_status": 422,
        "attempts": 1,
        "redrives": 0,
        "first_failed_at": "2026-06-06T12:11:20.000Z",
        "source_topic": topic,
        "source_partition": 0,
        "source_offset": 1,
        "source_timestamp": "2026-06-06T11:11:14.000Z",
        "schema": None,
        "group": group,
        "worker_version": first["worker_version"],
    }
    assert [line["state"] for line in listed.lines] == [
        *("waiting", "waiting", "exhausted", "foreign"),
        *("waiting", "foreign", "foreign"),
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["--reason", "undecodable"], {"1:0"}, id="reason"),
        pytest.param(["--reason=undecodable", "--reason=rejected"], {"0:0", "0:1", "0:2", "0:3", "1:0"}, id="two"),
        pytest.param(["--status", "422"], {"0:1"}, id="status"),
        pytest.param(["--offset", "0:1", "--offset", "1:0-7"], {"0:1", "1:0"}, id="places"),
        pytest.param(["--since", "2026-06-06T12:00"], {"0:1"}, id="since"),
        pytest.param(["--since", "2026-06-06T14:00+02:00"], {"0:1"}, id="since, with a zone"),
        pytest.param(["--since", "2026-06-06T11:11:20"], {"0:0", "0:1", "0:2", "0:3", "1:0"}, id="since includes"),
        pytest.param(["--until", "2026-06-06T12:11:20"], {"0:0", "0:2", "0:3", "1:0"}, id="until does not"),
        pytest.param(["--since", "1m"], set(), id="ago"),
        pytest.param(["--state", "exhausted"], {"0:2"}, id="state"),
        pytest.param(["--max-redrives", "4", "--state", "exhausted"], set(), id="not exhausted yet"),
        pytest.param(["--state", "foreign"], {"0:3", "1:1", "1:2"}, id="foreign"),
        pytest.param(["--reason", "rejected", "--status", "400", "--until", "2026-06-06"], set(), id="all must pass"),
    ],
)
def test_a_filter_takes_what_it_says(filled: str, letters: Letters, words: list[str], expected: set[str]) -> None:
    listed = letters("list", "--json", *words)
    assert listed.code == 0
    assert places(listed) == expected


def test_the_table_has_the_newest_first_says_how_many_more_and_adds_up(filled: str, letters: Letters) -> None:
    listed = letters("list", "--limit", "2")
    assert listed.code == 0
    heading, first, _, more, _, *totals = listed.out.splitlines()
    assert heading.split() == [
        *("failed", "first", "age", "letter", "reason", "source", "status"),
        *heading.split()[7:],
    ]
    assert first.split()[0] == "2026-06-06T12:11:20Z"
    assert " 0:1 " in first
    assert "5 older" in more
    assert [line.split() for line in totals] == [
        ["letters", "waiting", "exhausted", "foreign"],
        ["(no", "worker's)", "2", "0", "0", "2"],
        ["rejected", "4", "2", "1", "1"],
        ["undecodable", "1", "1", "0", "0"],
        ["in", "all", "7", "3", "1", "3"],
    ]


def test_the_oldest_come_first_where_that_is_asked_for(filled: str, letters: Letters) -> None:
    listed = letters("list", "--oldest-first", "--limit", "6", "--json")
    assert "0:1" not in places(listed)
    assert "1 newer" in listed.err


def test_what_a_redrive_has_gone_past_is_told_from_what_waits(
    filled: str, cluster: Cluster, group: str, letters: Letters
) -> None:
    cluster.commit(f"{group}.redrive", filled, {0: 3, 1: 1})
    states = {f"{line['partition']}:{line['offset']}": line["state"] for line in letters("list", "--json").lines}
    assert states == {
        "0:0": "redriven",
        "0:1": "redriven",
        "0:2": "exhausted",
        "0:3": "foreign",
        "1:0": "redriven",
        "1:1": "foreign",
        "1:2": "foreign",
    }


def test_nothing_that_anybody_wrote_reaches_the_terminal_as_a_command(filled: str, letters: Letters) -> None:
    assert "\x1b" not in letters("list").out
    assert "\x1b" not in letters("show", "1:1").out


def test_several_letters_of_one_record_are_told_of(
    filled: str, cluster: Cluster, topic: str, group: str, letters: Letters
) -> None:
    assert "waiting letters of" not in letters("list").out
    cluster.produce(filled, [letter(signal("evt_0"), topic=topic, group=group)])
    assert "4 waiting letters of 3 records" in letters("list").out
    assert "4 waiting letters of 3 records" in letters("list", "--json").err


def test_where_there_is_nothing_it_says_so(topic: str, cluster: Cluster, letters: Letters) -> None:
    listed = letters("list")
    assert (listed.code, listed.out) == (0, "")
    assert f"there is no topic {letters_topic(topic)}" in listed.err
    assert letters_topic(topic) not in cluster.topics(), "looking makes no topic"
    cluster.make_topic(1, letters_topic(topic))
    listed = letters("list")
    assert (listed.code, listed.out) == (0, "")
    assert f"No dead letters in {letters_topic(topic)}." in listed.err


def test_where_a_filter_takes_none_it_says_of_how_many(filled: str, letters: Letters) -> None:
    for words in (["--json"], ["--json", "--limit", "5"], []):
        listed = letters("list", "--reason", "gave-up", *words)
        assert (listed.code, listed.out) == (0, "")
        assert f"Of the dead letters in {filled} none of 7 match." in listed.err


@pytest.mark.parametrize("by", ["source", "itself"])
def test_a_topic_may_be_named_by_its_source_or_by_itself(filled: str, topic: str, letters: Letters, by: str) -> None:
    named = letters("list", "--json", "--topic", topic if by == "source" else filled, KAFKA_TOPICS="another")
    assert len(places(named)) == 7


@pytest.mark.parametrize("subcommand", ["list", "redrive"])
def test_a_topic_that_is_nowhere_is_refused(topic: str, letters: Letters, subcommand: str) -> None:
    refused = letters(subcommand, "--topic", "nope", DREAMDATA_API_KEY="key")
    assert refused.code == 2
    assert "--topic: there is no topic nope" in refused.err
    assert letters(subcommand, "--topic", topic, DREAMDATA_API_KEY="key").code == 0, "it may have none yet"


def test_the_letters_of_a_topic_that_is_gone_are_listed(
    cluster: Cluster, filled: str, topic: str, letters: Letters
) -> None:
    cluster.delete_topic(topic)
    assert len(places(letters("list", "--json", "--topic", topic, KAFKA_TOPICS="another"))) == 7


def test_more_than_one_topic_is_told_apart(filled: str, cluster: Cluster, topic: str, letters: Letters) -> None:
    both = letters("list", KAFKA_TOPICS=f"{topic},another")
    assert f"{filled[-20:]} 0:1" in both.out
    refused = letters("show", "0:1", KAFKA_TOPICS=f"{topic},another")
    assert refused.code == 2
    assert "--topic" in refused.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["--since", "yesterday"], "--since: 'yesterday' is no moment", id="no moment"),
        pytest.param(["--offset", "17"], "--offset: '17' is no place", id="no place"),
        pytest.param(["--reason", "bad"], "'bad' is not one of", id="no reason"),
        pytest.param(["--offset", "1:2-0"], "--offset 1:2-0 ends before it begins", id="offsets reversed"),
        pytest.param(["--since=2h", "--until=3h"], "--since 2h is not before --until 3h", id="times reversed"),
        pytest.param(["--since=2h", "--until=2h"], "--since 2h is not before --until 2h", id="nothing in between"),
        pytest.param(["--offset", "9:0"], "has 2 partitions, counted from 0", id="no such partition"),
        pytest.param(["--offset", "0:4-9"], "--offset 0:4-9: there is no such dead letter", id="behind the end"),
    ],
)
@pytest.mark.parametrize("subcommand", ["list", "redrive"])
def test_a_wrong_argument_is_refused(
    filled: str, cluster: Cluster, group: str, letters: Letters, subcommand: str, words: list[str], said: str
) -> None:
    refused = letters(subcommand, *words, DREAMDATA_API_KEY="key")
    assert refused.code == 2
    assert said in refused.err
    assert cluster.committed(f"{group}.redrive", filled) == {}


def test_a_list_of_nothing_cannot_be_asked_for(letters: Letters) -> None:
    assert letters("list", "--limit", "0").code == 2


def test_all_that_is_wrong_with_a_filter_is_said_at_once(filled: str, letters: Letters) -> None:
    refused = letters("list", "--since=bogus", "--offset=1:9-3", "--offset=x")
    assert all(said in refused.err for said in ("bogus", "or a span back from now (2h", "1:9-3", "'x'"))
    missing = letters("list", "--offset=9:0", "--offset=0:50", "--offset=0:1")
    assert "--offset 9:0:" in missing.err
    assert "--offset 0:50:" in missing.err
    assert "0:1:" not in missing.err


def test_a_letter_is_shown_with_the_payload_it_would_make_now(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker, letters: Letters
) -> None:
    """Traits are those the log knows now; the messageId is derived from where the source record lay."""
    cluster.produce(topic, [identify("evt_0", JANE), Message(b"not Avro"), signal(None, event="Demo Booked")])
    nameless = signal(None, properties={"form_id": "demo"})
    put_faults(sandbox, {"status": 400})
    cluster.produce(topic, [Message(nameless.value, nameless.key, (("trace", b"abc def"),))])
    start_worker(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url)
    wait_until(lambda: settled(cluster, group, topic), 60, "all is committed")
    [wanted] = letters("list", "--reason", "rejected", "--json").lines

    shown = letters("show", f"{wanted['partition']}:{wanted['offset']}", "--json", "--reveal").lines[0]
    assert (shown["source_offset"], shown["http_status"], shown["state"]) == (3, 400, "waiting")
    assert ["trace", "abc def"] in shown["headers"]
    assert shown["event"]["properties"] == {"form_id": "demo"}
    payload = shown["now"]["payload"]
    assert payload["traits"] == JANE
    assert UUID(payload["messageId"]).version == 5

    masked = letters("show", f"{wanted['partition']}:{wanted['offset']}")
    assert masked.code == 0
    assert "jane.doe" not in masked.out
    assert "j***@a***.com" in masked.out
    assert "abc def" not in masked.out
    assert "lead_generated" in masked.out


@pytest.mark.parametrize(
    ("settings", "outcome", "reason"),
    [
        ({}, "delivered", ""),
        ({"CONSENT_CATEGORIES": "advertising"}, "filtered", "no-consent"),
        ({"EVENT_MAPPING": '{"Lead Generated": false}'}, "filtered", "switched-off"),
        ({"EVENT_MAX_BYTES": "100"}, "dead_lettered", "too-large"),
    ],
)
def test_now_is_with_the_settings_of_now(
    filled: str, letters: Letters, settings: dict[str, str], outcome: str, reason: str
) -> None:
    now = letters("show", "0:0", "--json", **settings).lines[0]["now"]
    assert (now["outcome"], now["reason"]) == (outcome, reason)


def test_what_cannot_be_read_and_what_is_nobodys_is_shown_all_the_same(filled: str, letters: Letters) -> None:
    unreadable = letters("show", "1:0", "--json").lines[0]
    assert (unreadable["event"], unreadable["now"]["reason"]) == (None, "undecodable")
    nobodys = letters("show", "1:2", "--json").lines[0]
    assert (nobodys["now"], nobodys["reason"], nobodys["bytes"]) == (None, None, 0)
    assert letters("show", "1:1").code == 0
    assert "cannot be read" in letters("show", "1:1").out


def test_a_letter_that_is_not_there_is_refused(filled: str, cluster: Cluster, letters: Letters) -> None:
    for place in ("0:4", "7:0", "0", "a:b"):
        assert letters("show", place).code == 2, place
    assert "holds offsets 0 to 3" in letters("show", "0:4").err
    cluster.produce_in_transaction(filled, [Message(b"x", b"a")], commit=True)
    wait_until(lambda: cluster.is_stable(filled), 60, "the transaction's mark is written")
    ends = cluster.end_offsets(filled)
    partition = next(number for number, end in ends.items() if end != {0: 4, 1: 3}[number])
    refused = letters("show", f"{partition}:{ends[partition] - 1}")
    assert refused.code == 2
    assert "transaction" in refused.err


def test_no_message_reveals_what_the_answer_quoted(cluster: Cluster, topic: str, group: str, letters: Letters) -> None:
    name = cluster.make_topic(1, letters_topic(topic), retention_ms="-1")
    quoting = letter(signal("evt_0"), topic=topic, group=group, http_body='{"error": "bad email jane.doe@acme.com"}')
    cluster.produce(name, [quoting])
    assert "jane" not in letters("show", "0:0").out
    assert "jane.doe@acme.com" in letters("show", "0:0", "--reveal").out
    assert letters("show", "0:0", "--json").lines[0]["event"]["context"]["consent"] == GRANTED
