"""TLS, SASL and ACLs: they work; what is wrong about them is said clearly, seldom, and mends itself."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
from confluent_kafka.admin import AclOperation, ResourceType  # type: ignore[attr-defined]  # in no __all__ of its own

from tests.integration.audit import audit
from tests.integration.cluster import Cluster, Message, Stored
from tests.integration.fixtures import StartWorker
from tests.integration.harness import WorkerProcess, wait_until
from tests.integration.secure_kafka import (
    CERTIFIED_USER,
    PLAIN_PASSWORD,
    PLAIN_USER,
    Right,
    SecureKafka,
    rights_of_a_worker,
)
from tests.integration.signals import signals
from tests.integration.test_delivery import settled
from worker.sandbox import Sandbox

PASSWORD = "right-password"


@dataclass(frozen=True, slots=True)
class Stage:
    """A worker's topic with five events and a record that will be a dead letter, its group and its user."""

    secure: SecureKafka
    cluster: Cluster
    topic: str
    group: str
    user: str
    produced: list[Stored]

    def rights(self, name: str) -> list[Right]:
        """Those on this topic, group or prefix of transactional ids."""
        return [right for right in rights_of_a_worker(self.topic, self.group) if right.name == name]

    def settled(self) -> bool:
        return settled(self.cluster, self.group, self.topic)


def staged(secure: SecureKafka, user: str | None = None) -> Stage:
    cluster = Cluster(secure.plain)
    topic, group = cluster.make_topic(), cluster.unique("group")
    name = user or cluster.unique("user")
    secure.grant(name, rights_of_a_worker(topic, group))
    produced = cluster.produce(topic, [*signals(5), Message(b"not Avro")])
    return Stage(secure, cluster, topic, group, name, produced)


def settings(
    stage: Stage, sandbox: Sandbox, mechanism: str = "SCRAM-SHA-512", password: str = PASSWORD
) -> dict[str, str]:
    return {
        "KAFKA_BROKERS": stage.secure.sasl,
        "KAFKA_TLS_ENABLED": "true",
        "KAFKA_TLS_CA_FILE": str(stage.secure.authority.certificate),
        "KAFKA_SASL_MECHANISM": mechanism,
        "KAFKA_SASL_USERNAME": stage.user,
        "KAFKA_SASL_PASSWORD": password,
        "KAFKA_TOPICS": stage.topic,
        "KAFKA_CONSUMER_GROUP": stage.group,
        "DREAMDATA_URL": sandbox.url,
    }


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_with_a_password_it_delivers_and_writes_dead_letters(
    secure: SecureKafka, sandbox: Sandbox, start_worker: StartWorker, mechanism: str
) -> None:
    plain = mechanism == "PLAIN"
    stage = staged(secure, PLAIN_USER if plain else None)
    secure.set_password(stage.user, PASSWORD)
    worker = start_worker(**settings(stage, sandbox, mechanism, PLAIN_PASSWORD if plain else PASSWORD))
    wait_until(stage.settled, 40, "all is committed")
    worker.wait_ready()
    audit(stage.cluster, sandbox, stage.group, stage.produced).verify(max_repeats=0)
    assert not complaints(worker)


def test_with_a_client_certificate_it_delivers_and_writes_dead_letters(
    secure: SecureKafka, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    stage = staged(secure, CERTIFIED_USER)
    certified = secure.authority.certify("worker")
    worker = start_worker(
        KAFKA_BROKERS=secure.mutual,
        KAFKA_TLS_ENABLED="true",
        KAFKA_TLS_CA_FILE=str(secure.authority.certificate),
        KAFKA_TLS_CERT_FILE=str(certified.certificate),
        KAFKA_TLS_KEY_FILE=str(certified.key),
        KAFKA_TOPICS=stage.topic,
        KAFKA_CONSUMER_GROUP=stage.group,
        DREAMDATA_URL=sandbox.url,
    )
    wait_until(stage.settled, 40, "all is committed")
    audit(stage.cluster, sandbox, stage.group, stage.produced).verify(max_repeats=0)
    assert not complaints(worker)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is broken before the worker starts, how it is mended, and what the worker has to say meanwhile."""

    broken: Callable[[Stage], None]
    mended: Callable[[Stage], None]
    words: tuple[str, ...]
    # Kafka refuses both to hand out a topic's records and to take its offsets: two facts, each with its line.
    lines: int = 1


def without(pick: Callable[[Stage], list[Right]], *words: str, lines: int = 1) -> Trouble:
    return Trouble(
        lambda stage: stage.secure.take(stage.user, pick(stage)),
        lambda stage: stage.secure.grant(stage.user, pick(stage)),
        words,
        lines,
    )


def on_letters(*operations: AclOperation) -> Callable[[Stage], list[Right]]:
    return lambda stage: [
        right for right in stage.rights(f"{stage.topic}.dead-letters") if right.operation in operations
    ]


TROUBLES = {
    "wrong password": Trouble(
        lambda stage: stage.secure.set_password(stage.user, "another-password"),
        lambda stage: stage.secure.set_password(stage.user, PASSWORD),
        ("invalid credentials", "KAFKA_SASL_PASSWORD"),
    ),
    "untrusted authority": Trouble(
        lambda stage: stage.secure.show_certificate(trusted=False),
        lambda stage: stage.secure.show_certificate(trusted=True),
        ("certificate verify failed", "KAFKA_TLS_CA_FILE"),
    ),
    "topic not readable": without(
        lambda stage: [Right(ResourceType.TOPIC, stage.topic, AclOperation.READ)],
        "Topic authorization failed",
        "{topic}",
        "ACLs",
        lines=2,
    ),
    "group": without(lambda stage: stage.rights(stage.group), "Group authorization failed", "READ on the group"),
    "transactional id": without(
        lambda stage: stage.rights(f"{stage.group}-"), "commit-refused", "Transactional Id authorization failed", "ACLs"
    ),
    "dead-letter topic not writable": without(
        on_letters(AclOperation.WRITE), "dead-letter-refused", "{topic}.dead-letters", "grant WRITE"
    ),
    "dead-letter topic not to be made": without(
        # the scout and the committer try it in turn, and share the minute's line: either may have it
        on_letters(AclOperation.CREATE),
        "dead-letter-refused",
        "{topic}.dead-letters",
        "CREATE on the topic",
        lines=2,
    ),
}


# What is tried again every half minute only is left to the soak, which has all of them.
QUICK = [name for name in TROUBLES if name not in ("topic not readable", "dead-letter topic not to be made")]


@pytest.mark.parametrize("trouble", [TROUBLES[name] for name in QUICK], ids=QUICK)
def test_what_is_wrong_is_named_with_what_to_do_and_mends_itself(
    secure: SecureKafka, sandbox: Sandbox, start_worker: StartWorker, trouble: Trouble
) -> None:
    stage = staged(secure)
    secure.set_password(stage.user, PASSWORD)
    trouble.broken(stage)
    try:
        worker = start_worker(**settings(stage, sandbox))
        wait_until(lambda: names(worker, stage, trouble), 40, f"not ready, because: {trouble.words}")
        assert worker.get("/healthz")[0] == 200
        assert stage.cluster.committed(stage.group, stage.topic).get(0, 0) <= 5, "not past the dead letter"
    finally:
        trouble.mended(stage)
    wait_until(stage.settled, 70, "all is committed, without a restart")
    audit(stage.cluster, sandbox, stage.group, stage.produced).verify(max_repeats=0)
    wait_until(worker.is_ready, 60, "ready again")


def test_a_right_to_one_dead_letter_topic_holds_the_lanes_of_that_topic_alone(
    secure: SecureKafka, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    stage = staged(secure)
    secure.set_password(stage.user, PASSWORD)
    other = stage.cluster.make_topic()
    secure.grant(stage.user, rights_of_a_worker(other, stage.group))
    stage.cluster.produce(other, [*signals(5, prefix="other"), Message(b"not Avro"), *signals(5, prefix="more")])
    write = on_letters(AclOperation.WRITE)(stage)
    secure.take(stage.user, write)
    worker = start_worker(**{**settings(stage, sandbox), "KAFKA_TOPICS": f"{stage.topic},{other}"})
    wait_until(lambda: worker.is_ready() is False and worker.is_held("dead-letter-refused"), 40, "the hold")
    wait_until(lambda: settled(stage.cluster, stage.group, other), 40, "the other topic goes on")
    assert stage.cluster.committed(stage.group, stage.topic).get(0, 0) <= 5
    assert not any(other in reason for reason in worker.ready_reasons())
    secure.grant(stage.user, write)
    wait_until(stage.settled, 70, "all is committed")
    wait_until(worker.is_ready, 40, "ready again")


@pytest.mark.parametrize(
    ("trouble", "other_goes_on"),
    [
        pytest.param("transactional id", False, id="transactional id, which holds all"),
        pytest.param(
            "dead-letter topic not writable", True, id="dead-letter topic, which holds its own", marks=pytest.mark.soak
        ),
    ],
)
def test_a_right_that_is_taken_away_at_work_holds_what_needs_it_until_it_is_given_back(
    secure: SecureKafka, sandbox: Sandbox, start_worker: StartWorker, trouble: str, *, other_goes_on: bool
) -> None:
    stage = staged(secure)
    secure.set_password(stage.user, PASSWORD)
    other = stage.cluster.make_topic()
    secure.grant(stage.user, rights_of_a_worker(other, stage.group))
    worker = start_worker(**{**settings(stage, sandbox), "KAFKA_TOPICS": f"{stage.topic},{other}"})
    wait_until(stage.settled, 40, "all is committed")
    wait_until(worker.is_ready, 40, "ready")

    TROUBLES[trouble].broken(stage)
    bad = [*signals(5, prefix="more"), Message(b"not Avro"), *signals(5, prefix="behind")]
    more = stage.cluster.produce(stage.topic, bad)
    stage.cluster.produce(other, signals(5, prefix="other"))
    wait_until(lambda: names(worker, stage, TROUBLES[trouble]), 40, "not ready, and why")
    wait_until(lambda: len(sandbox.ledger.events()) >= 20, 40, "what has been gathered goes out")
    if other_goes_on:
        wait_until(lambda: settled(stage.cluster, stage.group, other), 40, "the other topic is committed")
    else:
        assert stage.cluster.committed(stage.group, other) == {0: 0}
    assert stage.cluster.committed(stage.group, stage.topic)[0] <= 11, "not past the dead letter"
    TROUBLES[trouble].mended(stage)
    wait_until(stage.settled, 90, "all is committed, without a restart")
    wait_until(lambda: settled(stage.cluster, stage.group, other), 40, "of the other topic, too")
    wait_until(worker.is_ready, 40, "ready again")
    assert Counter(event.message_id for event in sandbox.ledger.events()).most_common(1)[0][1] == 1
    letters = stage.cluster.read_topic(f"{stage.topic}.dead-letters")
    assert [int(letter.headers["dl-offset"]) for letter in letters] == [5, 11]
    assert len(more) == 11


def names(worker: WorkerProcess, stage: Stage, trouble: Trouble) -> bool:
    """Whether one of the reasons for not being ready holds all the words."""
    try:
        reasons = worker.ready_reasons()
    except OSError:
        return False
    words = [word.format(topic=stage.topic) for word in trouble.words]
    return any(all(word in reason for word in words) for reason in reasons)


def complaints(worker: WorkerProcess) -> Counter[str]:
    """How many lines of each event say that something is wrong, dead letters aside."""
    return Counter(
        str(line.get("event"))
        for line in worker.log_lines()
        if line.get("level") not in ("debug", "info") and line.get("event") != "record.dead_lettered"
    )


@pytest.mark.soak
def test_every_trouble_at_once_for_two_minutes_is_a_line_a_minute_each_and_ends_when_it_is_mended(
    secure: SecureKafka, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    """And a topic that may not even be seen, which is looked for twice a minute only."""
    unseen = without(lambda stage: stage.rights(stage.topic), "no right to see it", "{topic}", lines=2)
    troubles = {**TROUBLES, "topic unseen": unseen}
    # the broker shows its certificate to everybody
    del troubles["untrusted authority"]
    cast: list[tuple[str, Trouble, Stage, WorkerProcess]] = []
    for name, trouble in troubles.items():
        stage = staged(secure)
        secure.set_password(stage.user, PASSWORD)
        trouble.broken(stage)
        cast.append((name, trouble, stage, start_worker(**settings(stage, sandbox))))
    for name, trouble, stage, worker in cast:
        wait_until(partial(names, worker, stage, trouble), 60, f"not ready: {name}")
    began = time.monotonic()
    while time.monotonic() - began < 125:
        for name, _, _, worker in cast:
            assert not worker.is_ready(), name
        time.sleep(0.5)
    for name, trouble, stage, worker in cast:
        lines = complaints(worker)
        minutes = 1 + (time.monotonic() - began + 60) // 60
        assert 2 <= max(lines.values()) <= minutes, (name, lines)
        assert len(lines) <= trouble.lines, (name, lines)
        trouble.mended(stage)
    for name, _, stage, worker in cast:
        wait_until(stage.settled, 120, f"all is committed: {name}")
        wait_until(worker.is_ready, 60, f"ready again: {name}")


@pytest.mark.soak
def test_a_right_to_read_that_is_taken_away_at_work_is_said_until_it_is_given_back(
    secure: SecureKafka, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    """The client says it once and falls silent: neither readiness nor the watchdog may take that for peace."""
    stage = staged(secure)
    secure.set_password(stage.user, PASSWORD)
    worker = start_worker(**settings(stage, sandbox), WATCHDOG_SECONDS="10", REQUEST_TIMEOUT_SECONDS="5")
    wait_until(stage.settled, 40, "all is committed")
    read = [Right(ResourceType.TOPIC, stage.topic, AclOperation.READ)]
    secure.take(stage.user, read)
    more = stage.cluster.produce(stage.topic, signals(5, prefix="more"))
    wait_until(lambda: not worker.is_ready(), 40, "not ready")
    began = time.monotonic()
    while time.monotonic() - began < 40:
        assert any(stage.topic in reason and "ACLs" in reason for reason in worker.ready_reasons())
        time.sleep(0.2)
    secure.grant(stage.user, read)
    wait_until(stage.settled, 60, "all is committed")
    wait_until(worker.is_ready, 40, "ready again")
    audit(stage.cluster, sandbox, stage.group, [*stage.produced, *more]).verify(max_repeats=0)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("protocol", "seconds", "kept"),
    [
        pytest.param("classic", 40, [], id="classic"),
        # to the client it is the end: another one takes its place
        pytest.param("consumer", 20, [], id="kip-848"),
        pytest.param("consumer", 20, [AclOperation.DESCRIBE], id="kip-848, which may still be looked at"),
    ],
)
def test_a_right_to_the_group_that_is_taken_away_at_work_is_said_until_it_is_given_back(
    secure: SecureKafka,
    sandbox: Sandbox,
    start_worker: StartWorker,
    protocol: str,
    seconds: int,
    kept: list[AclOperation],
) -> None:
    stage = staged(secure)
    secure.set_password(stage.user, PASSWORD)
    for operation in kept:
        secure.grant(stage.user, [Right(ResourceType.GROUP, stage.group, operation)])
    worker = start_worker(**settings(stage, sandbox), KAFKA_GROUP_PROTOCOL=protocol)
    wait_until(stage.settled, 40, "all is committed")
    wait_until(worker.is_ready, 40, "ready")
    secure.take(stage.user, stage.rights(stage.group))
    more = stage.cluster.produce(stage.topic, signals(5, prefix="more"))
    wait_until(lambda: not worker.is_ready(), 40, "not ready")
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        assert any("Group authorization" in reason and "ACLs" in reason for reason in worker.ready_reasons())
        time.sleep(0.2)
    lines = complaints(worker)
    assert all(count <= 2 for count in lines.values()), lines
    secure.grant(stage.user, stage.rights(stage.group))
    wait_until(stage.settled, 60, "all is committed")
    wait_until(worker.is_ready, 40, "ready again")
    # without the right no offset could be moved: what was delivered meanwhile is delivered again
    audit(stage.cluster, sandbox, stage.group, [*stage.produced, *more]).verify(max_repeats=5)
    assert worker.terminate() == 0


@pytest.mark.soak
def test_a_right_to_the_group_that_is_missing_from_the_start_does_not_end_a_kip_848_member_either(
    secure: SecureKafka, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    stage = staged(secure)
    secure.set_password(stage.user, PASSWORD)
    secure.take(stage.user, stage.rights(stage.group))
    worker = start_worker(**settings(stage, sandbox), KAFKA_GROUP_PROTOCOL="consumer")
    wait_until(lambda: names(worker, stage, TROUBLES["group"]), 40, "not ready, and why")
    secure.grant(stage.user, stage.rights(stage.group))
    wait_until(stage.settled, 60, "all is committed")
    wait_until(worker.is_ready, 40, "ready again")
    audit(stage.cluster, sandbox, stage.group, stage.produced).verify(max_repeats=0)
