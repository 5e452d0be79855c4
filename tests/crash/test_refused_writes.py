"""One write of a transaction is refused: nothing else of it is to be seen either, and its lane alone is held."""

import pytest

from tests.crash.conftest import MakeStage
from tests.crash.stage import COOPERATIVE, KIP_848
from tests.integration.cluster import Message
from tests.integration.harness import wait_until

SOAK = pytest.mark.soak
# fewer than any entry and any dead letter has
TOO_FEW_BYTES = "100"


@pytest.mark.parametrize(
    ("protocol", "refusing", "reason"),
    [
        pytest.param(COOPERATIVE, "dead letters", "dead-letter-refused", id="dead letter"),
        pytest.param(COOPERATIVE, "identities", "identity-refused", id="identity"),
        pytest.param(KIP_848, "dead letters", "dead-letter-refused", id="kip-848, dead letter", marks=SOAK),
        pytest.param(KIP_848, "identities", "identity-refused", id="kip-848, identity", marks=SOAK),
    ],
)
def test_where_one_write_is_refused_neither_dead_letter_nor_identity_is_visible_until_it_is_taken(
    make_stage: MakeStage, protocol: str, refusing: str, reason: str
) -> None:
    stage = make_stage(protocol)
    stage.make_topic(partitions=2)
    letters, log = f"{stage.topic}.dead-letters", f"{stage.group}.{stage.topic}.identity"
    cluster = stage.cluster
    refused = letters if refusing == "dead letters" else log
    cluster.make_topic(2, letters, max_message_bytes=TOO_FEW_BYTES if refused == letters else "1000000")
    policy = {"cleanup_policy": "compact,delete"}
    cluster.make_topic(2, log, max_message_bytes=TOO_FEW_BYTES if refused == log else "1000000", **policy)
    stage.produce_messages([Message(b"no event", partition=0)])
    stage.produce(7, partitions=(0,), identifying=True)
    stage.produce(7, partitions=(1,))
    with stage.watch_commits() as watch, stage.watch_identities() as identities:
        worker = stage.start()
        wait_until(lambda: worker.is_held(reason), 60, "the hold")
        wait_until(lambda: stage.is_settled(1), 30, "the other lane goes on")
        [said] = [each for each in worker.ready_reasons() if reason in each]
        assert refused in said
        assert stage.committed()[0] == 0
        assert (identities.entries(), cluster.read_topic(letters)) == ([], [])

        cluster.set_config(refused, "max.message.bytes", "1000000")
        stage.wait_settled()
    run = stage.audit()
    run.verify(max_repeats=0)
    assert len(run.letters) == 1
    watch.verify(run)
    stage.verify_identities(run, identities)
    wait_until(worker.is_ready, 30, "ready again")
