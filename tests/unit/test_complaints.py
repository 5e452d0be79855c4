from tests.builders import TP, pipeline
from worker.complaints import TROUBLE_SECONDS, Complaints, advised, in_short
from worker.core.lanes import Lane
from worker.core.records import TopicPartition


def reading(position: int) -> dict[TopicPartition, Lane]:
    made = pipeline()
    made.assigned([TP])
    made.restored(TP, position, position)
    return made.lanes


def test_what_is_complained_of_comes_with_what_to_do_and_without_how_long_it_took() -> None:
    said = advised("_AUTHENTICATION", "Authentication failed: invalid credentials (after 311ms in state AUTH_REQ)")
    assert said.startswith("Authentication failed: invalid credentials. Check KAFKA_SASL_MECHANISM")
    assert in_short("not added (after 2 ms)") == in_short("not added (after 10 ms)") == "not added"


def test_what_follows_from_a_cause_does_not_take_its_place() -> None:
    complaints = Complaints()
    assert complaints.heard("wrong password", 0.0, cause=True)
    assert not complaints.heard("all brokers down", 1.0, cause=False)
    assert complaints.detail == "wrong password"


def test_a_cause_takes_the_place_of_what_followed_from_it() -> None:
    complaints = Complaints()
    assert complaints.heard("all brokers down", 0.0, cause=False)
    assert complaints.heard("wrong password", 1.0, cause=True)
    assert complaints.detail == "wrong password"


def test_a_cause_that_has_been_silent_for_a_while_is_none_any_more() -> None:
    complaints = Complaints()
    complaints.heard("wrong password", 0.0, cause=True)
    assert complaints.heard("all brokers down", TROUBLE_SECONDS, cause=False)
    assert complaints.detail == "all brokers down"


def test_it_lasts_while_it_is_heard_or_until_something_works() -> None:
    complaints = Complaints()
    assert not complaints.lasting(0.0)
    complaints.heard("all brokers down", 0.0, cause=False)
    assert complaints.lasting(TROUBLE_SECONDS - 0.1)
    assert not complaints.lasting(TROUBLE_SECONDS)
    complaints.heard("all brokers down", 20.0, cause=False)
    complaints.ended()
    assert not complaints.lasting(20.0)


def test_a_partition_that_cannot_be_read_is_complained_of_while_there_is_something_to_read() -> None:
    complaints, lanes = Complaints(), reading(5)
    complaints.refused(TP, "no right")
    assert list(complaints.still_refused(lanes, {TP: 5})) == []
    assert list(complaints.still_refused(lanes, {TP: 7})) == ["no right"]
    assert list(complaints.still_refused(lanes, {TP: 7})) == ["no right"]


def test_a_partition_that_was_read_since_or_given_away_is_not_complained_of() -> None:
    complaints, lanes = Complaints(), reading(5)
    complaints.refused(TP, "no right")
    assert list(complaints.still_refused(lanes, {TP: 7})) == ["no right"]
    lanes[TP].position = 6
    assert list(complaints.still_refused(lanes, {TP: 7})) == []
    complaints.refused(TP, "no right")
    assert list(complaints.still_refused({}, {TP: 7})) == []


def test_a_group_that_refuses_is_complained_of_until_something_works() -> None:
    complaints = Complaints()
    complaints.refused(None, "no right to the group")
    assert list(complaints.still_refused({}, {})) == ["no right to the group"]
    assert list(complaints.still_refused({}, {})) == ["no right to the group"]
    complaints.ended()
    assert list(complaints.still_refused({}, {})) == []
