"""`dead-letters redrive` on real Kafka, as a process: each letter is delivered, filtered, returned, or left."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from signal import SIGKILL, SIGTERM

import pytest

from tests.fakes import delivered_ids, put_faults
from tests.integration.cluster import Cluster, Message, Stored
from tests.integration.fixtures import StartWorker
from tests.integration.harness import WorkerProcess, wait_until
from tests.integration.letters import SOURCE_MS, Letters, letter, letters_command, letters_topic
from tests.integration.signals import ids, signal, signals
from tests.integration.test_delivery import settled
from tests.integration.test_identity_log import JANE, VISITOR, identify, log_of
from worker.cluster import Cluster as WorkersCluster
from worker.core.outcomes import Reason
from worker.core.payloads import derived_message_id
from worker.core.records import Record, TopicPartition
from worker.letters.selection import Ownership, Selection
from worker.letters.sources import LetterTopic
from worker.letters.stretching import OtherRedriveError, Wanted, agreed, begun, found
from worker.sandbox import Sandbox

NOTHING = {
    "delivered": 0,
    "filtered": {},
    "returned": {},
    "left_out": 0,
    "foreign": 0,
    "exhausted": 0,
    "waiting": {},
    "lost": 0,
}


@dataclass(frozen=True, slots=True)
class Redrive:
    """Of the test's topic, whose dead letters are `name`."""

    cluster: Cluster
    topic: str
    group: str
    sandbox: Sandbox
    start_worker: StartWorker

    @property
    def name(self) -> str:
        return letters_topic(self.topic)

    @property
    def redrive_group(self) -> str:
        return f"{self.group}.redrive"

    def letter(self, source: Message, **fields: object) -> Message:
        make: Callable[..., Message] = partial(letter, topic=self.topic, group=self.group)
        return make(source, **fields)

    def fill(self, *letters: Message, partitions: int = 1) -> list[Stored]:
        if self.name not in self.cluster.topics():
            # the letters' times are long ago: the broker would delete them in the middle of a test
            self.cluster.make_topic(partitions, self.name, retention_ms="-1")
        return self.cluster.produce(self.name, letters)

    def start(self, *words: str, **settings: str) -> WorkerProcess:
        usual = {
            "KAFKA_TOPICS": self.topic,
            "KAFKA_CONSUMER_GROUP": self.group,
            "DREAMDATA_URL": self.sandbox.url,
            # a member that was killed is missed soon
            "KAFKA_CLIENT": '{"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000}',
        }
        program = ("-m", "worker", "dead-letters", "redrive", "--json", *words)
        return self.start_worker(*program, **{**usual, **settings})

    def run(self, *words: str, **settings: str) -> dict[str, object]:
        return summary(self.start(*words, **settings))

    def committed(self) -> dict[int, int]:
        return self.cluster.committed(self.redrive_group, self.name)

    def waiting(self) -> list[Stored]:
        """Those that the next redrive would read. A transaction's mark comes a moment after its commit, or, of one that
        was killed, when the broker has missed it.
        """
        wait_until(lambda: self.cluster.is_stable(self.name), 60, f"no transaction is open in {self.name}")
        committed = self.committed()
        lie = self.cluster.read_topic(self.name)
        return [each for each in lie if each.record.offset >= committed.get(each.partition, 0)]


def summary(process: WorkerProcess) -> dict[str, object]:
    """Waits for its end; what it says then, which has to add up."""
    assert process.wait_exit(90) == 0, process.log_tail()
    said = json.loads(process.log_text().splitlines()[-1])
    assert isinstance(said, dict)
    parts = [said["delivered"], said["left_out"], said["exhausted"]]
    parts += [sum(said[each].values()) for each in ("filtered", "returned", "waiting")]
    assert said["read"] == sum(parts)
    return said


@pytest.fixture
def redrive(cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker) -> Redrive:
    return Redrive(cluster, topic, group, sandbox, start_worker)


@pytest.fixture
def letters(
    cluster: Cluster, topic: str, group: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Letters:
    return letters_command(cluster, topic, group, monkeypatch, capsys)


def sources(letters: list[Stored]) -> Counter[str]:
    return Counter(each.headers["dl-offset"] for each in letters)


def test_what_a_worker_has_buried_is_delivered_once_the_cause_is_mended(redrive: Redrive) -> None:
    """With the ids of the first try, be they the events' own or derived, and with what is known of the visitor."""
    cluster, topic, group, sandbox = redrive.cluster, redrive.topic, redrive.group, redrive.sandbox
    put_faults(sandbox, {"status": 400})
    worker = redrive.start_worker(
        KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=sandbox.url, REJECTION_LIMIT="0"
    )
    stored = cluster.produce(topic, [identify("evt_i", JANE), signal("evt_0", VISITOR), signal(None, VISITOR)])
    wait_until(lambda: settled(cluster, group, topic), 60, "all is committed")
    worker.terminate()
    assert len(cluster.read_topic(redrive.name)) == 2
    log = cluster.read_topic(log_of(group, topic))
    put_faults(sandbox)

    said = redrive.run()
    assert said == {**NOTHING, "read": 2, "delivered": 2, "left": 0}
    nameless = derived_message_id(TopicPartition(topic, 0), stored[2].record)
    assert delivered_ids(sandbox) == {"evt_0": 1, nameless: 1}
    assert [event.item["traits"] for event in sandbox.ledger.events()] == [JANE, JANE]
    assert redrive.committed() == cluster.end_offsets(redrive.name)
    assert cluster.read_topic(log_of(group, topic)) == log, "nothing is written to the identity log"
    assert redrive.run() == {**NOTHING, "read": 0, "left": 0}, "and no letter is taken twice"
    assert cluster.committed(group, topic) == cluster.end_offsets(topic), "the live group is not touched"


def test_what_fails_again_returns_with_its_count_raised_however_many_there_are(redrive: Redrive) -> None:
    """More in a row than REJECTION_LIMIT, which does not apply."""
    trace = (("trace", b"\xff\x00"),)
    given = [
        redrive.letter(Message(event.value, event.key, trace), offset=number)
        for number, event in enumerate(signals(25))
    ]
    redrive.fill(*given)
    put_faults(redrive.sandbox, {"status": 422})
    assert redrive.run() == {**NOTHING, "read": 25, "returned": {"rejected": 25}, "left": 0}
    back = redrive.waiting()
    assert sources(back) == {str(number): 1 for number in range(25)}
    for each in back:
        assert (each.headers["dl-redrives"], each.headers["dl-http-status"]) == ("1", "422")
        assert each.record.headers[0] == trace[0]
        assert (each.headers["dl-topic"], each.headers["dl-group"]) == (redrive.topic, redrive.group)
    originals = {event.value for event in signals(25)}
    assert {each.record.value for each in back} == originals
    put_faults(redrive.sandbox)
    assert redrive.run()["delivered"] == 25
    assert delivered_ids(redrive.sandbox) == dict.fromkeys(ids(25), 1)


@pytest.mark.timeout(300)
def test_ten_redrives_leave_the_headers_as_large_as_one(redrive: Redrive) -> None:
    event = signal("evt_0")
    redrive.fill(redrive.letter(Message(event.value, event.key, (("trace", b"1"),)), offset=17, source_partition=3))
    put_faults(redrive.sandbox, {"status": 400})
    sizes = []
    for number in range(1, 11):
        assert redrive.run("--max-redrives", "10")["returned"] == {"rejected": 1}
        [lies] = redrive.waiting()
        named = {name: lies.headers[name] for name in ("dl-partition", "dl-offset", "dl-timestamp", "dl-redrives")}
        assert named == {
            "dl-partition": "3",
            "dl-offset": "17",
            "dl-timestamp": "2026-06-06T11:11:14.000Z",
            "dl-redrives": str(number),
        }
        assert lies.record.headers[0] == ("trace", b"1")
        assert lies.record.value == event.value
        sizes.append(sum(len(name) + len(value or b"") for name, value in lies.record.headers))
    assert max(sizes) - min(sizes) <= 2, "digits of the counts"
    assert redrive.run("--max-redrives", "10") == {**NOTHING, "read": 1, "exhausted": 1, "left": 0}


def test_what_is_not_asked_for_goes_back_as_it_was(redrive: Redrive) -> None:
    """In the transaction that moves the offset past it: bytes, headers and time."""
    redrive.fill(
        redrive.letter(signal("evt_0"), offset=0),
        redrive.letter(signal("evt_1"), offset=1, reason=Reason.TOO_LARGE, status=413, redrives=2),
        redrive.letter(signal("evt_2"), offset=2),
    )
    given = redrive.cluster.read_topic(redrive.name)
    said = redrive.run("--reason", "too-large")
    assert said == {**NOTHING, "read": 3, "delivered": 1, "left_out": 2, "left": 0}
    assert delivered_ids(redrive.sandbox) == {"evt_1": 1}
    back = redrive.waiting()
    assert [each.record.offset > 2 for each in back] == [True, True]
    for before, after in zip([given[0], given[2]], back, strict=True):
        unchanged = ("key", "value", "headers", "timestamp_ms")
        assert [getattr(after.record, name) for name in unchanged] == [
            getattr(before.record, name) for name in unchanged
        ]
    assert redrive.run()["delivered"] == 2
    assert delivered_ids(redrive.sandbox) == dict.fromkeys(ids(3), 1)


def test_where_nothing_that_waits_is_asked_for_nothing_moves(redrive: Redrive) -> None:
    """Else all would be written again further on, and nothing sent."""
    redrive.fill(
        redrive.letter(signal("evt_0")),
        redrive.letter(signal("evt_1"), offset=1),
        redrive.letter(signal("evt_2"), offset=2, reason=Reason.TOO_LARGE, status=413, redrives=3),
        letter(signal("evt_3"), topic=redrive.topic, group="another", reason=Reason.TOO_LARGE),
    )
    ends, groups = redrive.cluster.end_offsets(redrive.name), redrive.cluster.groups()
    for words in ([], ["--dry-run"]):
        process = redrive.start("--reason", "too-large", *words)
        assert summary(process) == {**NOTHING, "read": 0, "left": 0}
        assert "None of the 2 dead letters that would be sent again is asked for." in process.log_text()
        assert "1 exhausted one is: --max-redrives 4 would send it." in process.log_text()
    assert (redrive.cluster.end_offsets(redrive.name), redrive.committed()) == (ends, {})
    assert redrive.cluster.groups() == groups
    assert redrive.run("--reason", "rejected")["delivered"] == 2
    process = redrive.start("--reason", "rejected")
    assert summary(process)["read"] == 0
    assert "No dead letter waits" in process.log_text()


def test_what_is_anothers_or_nobodys_is_left_out_and_harms_nothing(redrive: Redrive) -> None:
    redrive.fill(
        letter(signal("evt_9"), topic=redrive.topic, group="another"),
        Message(b"anything", b"key", (("dl-reason", b"rejected"), ("dl-offset", b"x"))),
        Message(None, None),
        redrive.letter(signal("evt_0")),
    )
    assert redrive.run() == {**NOTHING, "read": 4, "delivered": 1, "left_out": 3, "foreign": 3, "left": 0}
    assert [(each.record.key, each.record.value) for each in redrive.waiting()] == [
        (b"df_8f2a1c9e", signal("evt_9").value),
        (b"key", b"anything"),
        (None, None),
    ]
    assert delivered_ids(redrive.sandbox) == {"evt_0": 1}


def test_exhausted_ones_are_passed_by_and_stay_where_they_are(redrive: Redrive) -> None:
    redrive.fill(*(redrive.letter(signal(f"evt_{number}"), offset=number, redrives=3) for number in range(3)))
    before = redrive.cluster.read_topic(redrive.name)
    assert redrive.run() == {**NOTHING, "read": 3, "exhausted": 3, "left": 0}
    assert redrive.committed() == redrive.cluster.end_offsets(redrive.name) == {0: 3}
    assert redrive.cluster.read_topic(redrive.name) == before
    assert delivered_ids(redrive.sandbox) == {}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"CONSENT_CATEGORIES": "advertising"}, "no-consent"),
        ({"EVENT_MAPPING": '{"Lead Generated": false}'}, "switched-off"),
    ],
)
def test_it_goes_by_the_settings_of_now(redrive: Redrive, settings: dict[str, str], reason: str) -> None:
    redrive.fill(redrive.letter(signal("evt_0")), redrive.letter(identify("evt_i", JANE), offset=1))
    said = redrive.run(**settings)
    other = "no-consent" if reason == "no-consent" else "absorbed"
    assert said["filtered"] == dict(Counter([reason, other]))
    assert redrive.waiting() == []
    assert delivered_ids(redrive.sandbox) == {}


def test_a_mapping_that_was_mended_lets_them_through(redrive: Redrive) -> None:
    redrive.fill(redrive.letter(signal("evt_0", event="Demo Booked")))
    assert redrive.run(EVENT_MAPPING='{"Demo Booked": "demo_booked"}')["delivered"] == 1
    [event] = redrive.sandbox.ledger.events()
    assert event.item["event"] == "demo_booked"


def test_traits_are_those_the_log_knows_now_and_a_redriven_identify_teaches_nothing(
    redrive: Redrive, letters: Letters, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each visitor in the partition the letter came from; one who was forgotten by hand is not known again."""
    cluster, topic, group = redrive.cluster, redrive.topic, redrive.group
    worker = redrive.start_worker(KAFKA_TOPICS=topic, KAFKA_CONSUMER_GROUP=group, DREAMDATA_URL=redrive.sandbox.url)
    cluster.produce(topic, [identify("evt_i", JANE), identify("evt_j", JANE, "df_gone")])
    wait_until(lambda: settled(cluster, group, topic), 60, "all is committed")
    worker.terminate()
    cluster.produce(log_of(group, topic), [Message(None, b"a:df_gone", forgotten(cluster, topic, group))])
    log = cluster.read_topic(log_of(group, topic))
    old = {"email": "old@acme.com"}
    redrive.fill(
        redrive.letter(identify("evt_k", old), offset=5),
        redrive.letter(signal("evt_0", VISITOR), offset=6),
        redrive.letter(identify("evt_l", old, "df_gone"), offset=7),
        redrive.letter(signal("evt_1", "df_gone"), offset=8),
        redrive.letter(signal("evt_2", VISITOR), offset=9, source_partition=1),
    )
    said = redrive.run()
    assert (said["delivered"], said["filtered"]) == (3, {"absorbed": 2})
    traits = {event.message_id: event.item.get("traits") for event in redrive.sandbox.ledger.events()}
    assert traits == {"evt_0": JANE, "evt_1": None, "evt_2": None}
    assert cluster.read_topic(log_of(group, topic)) == log


def forgotten(cluster: Cluster, topic: str, group: str) -> tuple[tuple[str, bytes | None], ...]:
    """What an operator's tombstone says."""
    entry = cluster.read_topic(log_of(group, topic))[0]
    topic_id = dict(entry.record.headers)["source-topic-id"]
    return (("operator", b"2"), ("source-topic-id", topic_id))


def test_it_ends_at_the_end_it_has_found(redrive: Redrive) -> None:
    """Letters that come meanwhile, its own among them, are the next one's."""
    redrive.fill(redrive.letter(signal("evt_0")))
    put_faults(redrive.sandbox, {"status": 503})
    process = redrive.start()
    wait_until(lambda: redrive.sandbox.ledger.totals().requests > 0, 60, "a request")
    redrive.fill(redrive.letter(signal("evt_1"), offset=1))
    put_faults(redrive.sandbox)
    assert summary(process) == {**NOTHING, "read": 1, "delivered": 1, "left": 0}
    assert delivered_ids(redrive.sandbox) == {"evt_0": 1}
    assert [each.headers["dl-offset"] for each in redrive.waiting()] == ["1"]


def test_a_wrong_key_is_waited_out_as_by_the_worker(redrive: Redrive) -> None:
    redrive.fill(redrive.letter(signal("evt_0")))
    put_faults(redrive.sandbox, {"status": 401, "count": 1})
    process = redrive.start()
    wait_until(lambda: process.is_held("unauthorized"), 60, "the hold")
    assert redrive.waiting(), "nothing moves meanwhile"
    assert process.logged("delivery.held")
    assert summary(process)["delivered"] == 1, "a probe has got through"


def test_a_schema_nobody_can_tell_of_is_waited_for_and_a_stop_is_obeyed_meanwhile(redrive: Redrive) -> None:
    """Without the event nobody knows whose it is, so nothing is sent before."""
    redrive.fill(redrive.letter(Message(b"\0\0\0\0\7abc")), redrive.letter(signal("evt_0"), offset=1))
    process = redrive.start()
    wait_until(lambda: process.logged("schema.unavailable"), 60, "it says so")
    process.send_signal(SIGTERM)
    assert summary(process) == {**NOTHING, "read": 0, "left": 2}
    assert delivered_ids(redrive.sandbox) == {}
    assert redrive.run("--dry-run")["waiting"] == {"schema": 2}, "order is kept"


def test_a_letter_that_cannot_be_written_back_is_held_and_not_lost(redrive: Redrive) -> None:
    redrive.fill(redrive.letter(Message(b"not Avro " * 500)), redrive.letter(signal("evt_0"), offset=1))
    redrive.cluster.set_config(redrive.name, "max.message.bytes", "1000")
    process = redrive.start()
    wait_until(lambda: process.is_held("dead-letter-refused"), 60, "the hold")
    assert redrive.committed() == {0: 0}
    redrive.cluster.set_config(redrive.name, "max.message.bytes", "1000000")
    said = summary(process)
    assert (said["delivered"], said["returned"]) == (1, {"undecodable": 1})
    [back] = redrive.waiting()
    assert back.headers["dl-redrives"] == "1"


@pytest.mark.parametrize("number", [SIGTERM, SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_stopped_in_the_middle_and_run_again_nothing_is_lost_and_little_repeated(redrive: Redrive, number: int) -> None:
    """Of two partitions, half of the letters fail again. What is repeated was in one batch of each partition."""
    events, batch = signals(1_200), 5
    redrive.fill(
        *(
            redrive.letter(
                event if place % 2 else Message(b"not Avro", event.key), offset=place, partition=place % 4 // 2
            )
            for place, event in enumerate(events)
        ),
        partitions=2,
    )
    put_faults(redrive.sandbox, {"delay_ms": 150})
    slow = {"BATCH_MAX_EVENTS": str(batch), "SHUTDOWN_TIMEOUT_SECONDS": "2"}
    process = redrive.start(**slow)
    wait_until(lambda: len(delivered_ids(redrive.sandbox)) >= 3 * batch, 60, f"some are delivered: {process.log}")
    process.send_signal(number)  # type: ignore[arg-type]  # both are signals
    code = process.wait_exit(60)
    assert code == (0 if number == SIGTERM else -SIGKILL)
    assert 0 < len(delivered_ids(redrive.sandbox)) < 600, "it was in the middle"
    put_faults(redrive.sandbox)
    redrive.run()

    got = delivered_ids(redrive.sandbox)
    assert set(got) == {f"evt_{place}" for place in range(1, 1_200, 2)}
    repeated = got.total() - len(got)
    assert repeated <= (0 if number == SIGTERM else 2 * 2 * batch), got
    assert sources(redrive.waiting()) == {str(place): 1 for place in range(0, 1_200, 2)}


def test_two_at_a_time_share_the_partitions(redrive: Redrive) -> None:
    events = signals(60)
    redrive.fill(
        *(redrive.letter(event, offset=place, partition=place % 2) for place, event in enumerate(events)), partitions=2
    )
    put_faults(redrive.sandbox, {"status": 503})
    both = [redrive.start(BATCH_MAX_EVENTS="2")]
    wait_until(lambda: redrive.sandbox.ledger.totals().requests > 0, 60, "the first is at work")
    both.append(redrive.start(BATCH_MAX_EVENTS="2"))
    wait_until(lambda: both[1].logged("partition.assigned"), 60, "the second has a partition")
    other = redrive.start("--reason", "rejected")
    assert other.wait_exit(60) == 1
    assert "another redrive" in other.log_text()
    put_faults(redrive.sandbox)
    assert {each["delivered"] for each in map(summary, both)} == {60}, "both tell of the whole"
    got = delivered_ids(redrive.sandbox)
    assert set(got) == ids(60)
    assert got.total() - 60 <= 4


def test_of_two_that_begin_together_with_other_options_the_last_has_the_word(redrive: Redrive) -> None:
    """Before either has joined the group, nothing else could tell them of each other."""
    redrive.fill(redrive.letter(signal("evt_0")))
    cluster = WorkersCluster({"bootstrap.servers": redrive.cluster.bootstrap_servers})
    topics = [LetterTopic(redrive.topic, redrive.name, 1)]
    first = Wanted(Ownership(redrive.group), Selection())
    second = Wanted(Ownership(redrive.group), Selection(reasons=frozenset({"too-large"})))
    stretches = begun(cluster, found(cluster, topics, first), first)
    assert agreed(cluster, stretches, first) == stretches
    begun(cluster, found(cluster, topics, second), second)
    with pytest.raises(OtherRedriveError):
        agreed(cluster, stretches, first)


def test_a_dry_run_counts_and_changes_nothing(redrive: Redrive) -> None:
    redrive.fill(
        redrive.letter(signal("evt_0")),
        redrive.letter(Message(b"not Avro"), offset=1),
        redrive.letter(signal("evt_1", event="Other"), offset=2),
        redrive.letter(signal("evt_2"), offset=3, redrives=3),
        letter(signal("evt_3"), topic=redrive.topic, group="another"),
    )
    ends, groups = redrive.cluster.end_offsets(redrive.name), redrive.cluster.groups()
    said = redrive.run("--dry-run")
    assert said == {
        **NOTHING,
        "read": 5,
        "delivered": 1,
        "filtered": {"unmapped": 1},
        "returned": {"undecodable": 1},
        "left_out": 1,
        "foreign": 1,
        "exhausted": 1,
        "left": 0,
    }
    assert (redrive.cluster.end_offsets(redrive.name), redrive.committed()) == (ends, {})
    assert redrive.cluster.groups() == groups
    assert redrive.sandbox.ledger.totals().requests == 0


def test_where_there_is_nothing_it_says_so(redrive: Redrive) -> None:
    nothing = redrive.start()
    assert summary(nothing)["read"] == 0
    assert "there is no topic" in nothing.log_text()
    redrive.fill()
    assert redrive.run()["read"] == 0


def test_letters_of_a_topic_that_was_made_again_are_all_read(redrive: Redrive) -> None:
    """Their offsets begin anew, and what the group has committed was of others."""
    redrive.fill(redrive.letter(signal("evt_0")))
    redrive.run()
    redrive.cluster.delete_topic(redrive.name)
    redrive.fill(*(redrive.letter(signal(f"evt_{number}"), offset=number) for number in range(1, 4)))
    assert redrive.run()["delivered"] == 3
    assert set(delivered_ids(redrive.sandbox)) == ids(4)


def test_a_rate_is_kept(redrive: Redrive) -> None:
    redrive.fill(*(redrive.letter(event, offset=place) for place, event in enumerate(signals(30))))
    process = redrive.start("--rate", "10", BATCH_MAX_EVENTS="1")
    assert summary(process)["delivered"] == 30
    received = [event.received_at.monotonic for event in redrive.sandbox.ledger.events()]
    assert received[-1] - received[0] >= 2.5


def test_a_letter_of_a_record_keeps_its_time(redrive: Redrive) -> None:
    """The event has none of its own id, so the derived one must be that of the record, to the millisecond."""
    nameless = signal(None)
    redrive.fill(redrive.letter(nameless, offset=41, source_partition=2))
    redrive.run()
    record = Record(41, SOURCE_MS, nameless.key, nameless.value)
    expected = derived_message_id(TopicPartition(redrive.topic, 2), record)
    assert delivered_ids(redrive.sandbox) == {expected: 1}
