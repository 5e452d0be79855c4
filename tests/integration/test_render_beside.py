"""`render` beside the commands that send again, on a real broker: the same bytes, before they are sent."""

import json

from tests.fakes import delivered_ids, put_faults
from tests.integration.cluster import Cluster
from tests.integration.fixtures import StartWorker
from tests.integration.test_render import Render, render
from tests.integration.test_render_ranges import at, bury, items, two_partitions
from worker.sandbox import Sandbox

__all__ = ["render"]


def test_render_shows_of_dead_letters_what_a_redrive_sends(
    cluster: Cluster, topic: str, group: str, sandbox: Sandbox, start_worker: StartWorker, render: Render
) -> None:
    bury(cluster, topic, group, sandbox, start_worker)
    settings = {"KAFKA_TOPICS": topic, "KAFKA_CONSUMER_GROUP": group}
    shown = items(render("--dead-letters", **settings))
    before = delivered_ids(sandbox)
    put_faults(sandbox)
    redrive = start_worker("-m", "worker", "dead-letters", "redrive", "--json", DREAMDATA_URL=sandbox.url, **settings)
    assert redrive.wait_exit(90) == 0, redrive.log_tail()
    sent = {event.message_id: event.json for event in sandbox.ledger.events() if event.message_id not in before}
    assert shown == sent
    assert len(sent) == 2
    # what went back is shown as what it is now, with one redrive behind it
    again = render("--dead-letters", **settings)
    assert {line.reason for line in again.records if line.outcome == "dead_lettered"} == {
        "invalid-event",
        "undecodable",
    }


def test_render_shows_of_a_range_what_a_replay_sends(
    cluster: Cluster, group: str, sandbox: Sandbox, start_worker: StartWorker, render: Render
) -> None:
    topic = cluster.make_topic(partitions=2)
    cluster.produce(topic, two_partitions())
    settings = {"KAFKA_TOPICS": topic, "KAFKA_CONSUMER_GROUP": group}
    wanted = ["--from", "beginning", "--to", at(7), "--event", "lead generated"]
    shown = items(render(*wanted, **settings))
    replay = start_worker("-m", "worker", "replay", "--name", "june", *wanted, DREAMDATA_URL=sandbox.url, **settings)
    assert replay.wait_exit(90) == 0, replay.log_tail()
    assert shown == {event.message_id: event.json for event in sandbox.ledger.events()}
    assert len(shown) == 13
    assert json.loads(shown["p0_5"])["traits"] == {"email": "jane.doe@acme.com"}
