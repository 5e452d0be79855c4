"""The rights of the operator's commands: those that their pages list are enough, and one that is missing is named."""

import pytest
from confluent_kafka.admin import AclOperation, ResourceType  # type: ignore[attr-defined]  # in no __all__ of its own

from tests.fakes import delivered_ids
from tests.integration.fixtures import StartWorker
from tests.integration.harness import WorkerProcess, wait_until
from tests.integration.secure_kafka import Right, SecureKafka
from tests.integration.signals import ids
from tests.integration.test_security import PASSWORD, Stage, settings, staged
from worker.sandbox import Sandbox


@pytest.fixture
def stage(secure: SecureKafka, sandbox: Sandbox, start_worker: StartWorker) -> Stage:
    """Five events delivered, one dead letter, and the worker gone."""
    stage = staged(secure)
    secure.set_password(stage.user, PASSWORD)
    worker = start_worker(**settings(stage, sandbox))
    wait_until(stage.settled, 40, "all is committed")
    assert worker.terminate() == 0
    return stage


@pytest.fixture
def may_read_letters(stage: Stage) -> None:
    stage.secure.grant(stage.user, [Right(ResourceType.TOPIC, f"{stage.topic}.dead-letters", AclOperation.READ)])


def rights_to_work_as(group: str) -> list[Right]:
    """What a replay or a redrive needs besides, for the group it works as."""
    return [
        Right(ResourceType.GROUP, group, AclOperation.READ),
        Right(ResourceType.TRANSACTIONAL_ID, f"{group}-", AclOperation.WRITE, prefixed=True),
        Right(ResourceType.TRANSACTIONAL_ID, f"{group}-", AclOperation.DESCRIBE, prefixed=True),
    ]


REPLAY = (("replay", "--name", "again", "--from-offset", "0"), "{group}.replay.again")
REDRIVE = (("dead-letters", "redrive"), "{group}.redrive")


def start(stage: Stage, sandbox: Sandbox, start_worker: StartWorker, *words: str) -> WorkerProcess:
    return start_worker("-m", "worker", *words, **settings(stage, sandbox))


@pytest.mark.usefixtures("may_read_letters")
@pytest.mark.parametrize(("words", "group"), [REPLAY, REDRIVE], ids=["replay", "redrive"])
def test_with_the_rights_of_its_page_a_range_or_the_dead_letters_are_sent_again(
    stage: Stage, sandbox: Sandbox, start_worker: StartWorker, words: tuple[str, ...], group: str
) -> None:
    stage.secure.grant(stage.user, rights_to_work_as(group.format(group=stage.group)))
    worker = start(stage, sandbox, start_worker, *words)
    assert worker.wait_exit(60) == 0, worker.log_text()
    assert delivered_ids(sandbox) == dict.fromkeys(ids(5), 2 if words[0] == "replay" else 1)


@pytest.mark.usefixtures("may_read_letters")
@pytest.mark.parametrize(("words", "group"), [REPLAY, REDRIVE], ids=["replay", "redrive"])
def test_without_the_right_to_its_group_it_ends_and_names_it(
    stage: Stage, sandbox: Sandbox, start_worker: StartWorker, words: tuple[str, ...], group: str
) -> None:
    _, *others = rights_to_work_as(group.format(group=stage.group))
    stage.secure.grant(stage.user, others)
    worker = start(stage, sandbox, start_worker, *words)
    assert worker.wait_exit(60) == 1
    assert "Group authorization failed" in worker.log_text()
    assert f"(group {group.format(group=stage.group)})" in worker.log_text()
    assert delivered_ids(sandbox) == dict.fromkeys(ids(5), 1), "nothing was sent again"


@pytest.mark.usefixtures("may_read_letters")
@pytest.mark.parametrize(("words", "group"), [REPLAY, REDRIVE], ids=["replay", "redrive"])
def test_without_the_right_to_its_transactions_it_waits_says_so_and_goes_on_when_it_is_given(
    stage: Stage, sandbox: Sandbox, start_worker: StartWorker, words: tuple[str, ...], group: str
) -> None:
    in_group, *on_transactions = rights_to_work_as(group.format(group=stage.group))
    stage.secure.grant(stage.user, [in_group])
    worker = start(stage, sandbox, start_worker, *words)
    wait_until(lambda: worker.logged("commit.failed"), 40, "the refusal")
    assert "Transactional Id authorization failed" in str(worker.logged("commit.failed")[0]["detail"])
    stage.secure.grant(stage.user, on_transactions)
    assert worker.wait_exit(60) == 0, worker.log_text()


@pytest.mark.parametrize(
    ("words", "exit_code"),
    [
        (("identity", "show", "df_1"), 3),
        (("replay", "list"), 0),
        (("render", "--from-offset", "0"), 0),
        (("check",), 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_does_not_send_needs_no_more_than_the_worker(
    stage: Stage, sandbox: Sandbox, start_worker: StartWorker, words: tuple[str, ...], exit_code: int
) -> None:
    worker = start(stage, sandbox, start_worker, *words)
    assert worker.wait_exit(60) == exit_code, worker.log_text()
    assert "Traceback" not in worker.log_text()


@pytest.mark.usefixtures("may_read_letters")
def test_to_forget_a_visitor_takes_a_look_at_the_dead_letters(
    stage: Stage, sandbox: Sandbox, start_worker: StartWorker
) -> None:
    worker = start(stage, sandbox, start_worker, "identity", "forget", "df_1", "--yes")
    assert worker.wait_exit(60) == 0, worker.log_text()


@pytest.mark.usefixtures("may_read_letters")
@pytest.mark.parametrize("words", [("list",), ("show", "0:0")], ids=" ".join)
def test_dead_letters_are_shown_without_the_right_to_redrive_them(
    stage: Stage, sandbox: Sandbox, start_worker: StartWorker, words: tuple[str, ...]
) -> None:
    worker = start(stage, sandbox, start_worker, "dead-letters", *words)
    assert worker.wait_exit(60) == 0, worker.log_text()
    assert f"it takes DESCRIBE, and READ to work as this group (group {stage.group}.redrive)" in worker.log_text()
