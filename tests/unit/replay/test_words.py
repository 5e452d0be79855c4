from worker.core.records import TopicPartition
from worker.core.stretches import Asked, Stretch
from worker.finish import Standing
from worker.replay.known import Known
from worker.replay.runs import Replay
from worker.replay.words import as_json, listed, rehearsed_in_words, summary, table

ASKED: Asked = {"from": "2026-06-01"}
A, B = TopicPartition("delivery-a", 0), TopicPartition("delivery-a", 1)
FIRST = Stretch(0, 1_500, ASKED, {"delivered": 1_200, "filtered/absorbed": 200})
SECOND = Stretch(500, 900, ASKED, {"delivered": 300, "dead_lettered/invalid-event": 10}, lost=50, unknown=3)


def replay(next_offset: int = 900) -> Replay:
    return Replay("june", "g.replay.june", dict(ASKED), {A: Standing(FIRST, 1_500), B: Standing(SECOND, next_offset)})


def test_a_summary_adds_up_over_all_partitions() -> None:
    assert summary(replay(), {"delivered": 1_500, "filtered/absorbed": 200, "dead_lettered/invalid-event": 10}) == [
        "Replay june (--from 2026-06-01): the range is done.",
        "  delivered                    1,500",
        "  dead-lettered invalid-event     10",
        "  filtered absorbed              200",
        "  records                      1,710",
        "In 1,900 of 1,900 offsets; 140 of them hold no record.",
        "50 offsets were deleted by retention before being read, and not sent.",
        "identity-unknown: 3 visitors of whom no identify from before the range could be read.",
    ]


def test_a_summary_says_what_is_left_and_whose_part_was_what() -> None:
    said = summary(replay(880), {"delivered": 7})

    assert said[0].endswith("20 offsets are left.")
    assert "This process's part: delivered 7." in said
    assert said[-1] == "To go on: replay --name june"


def test_a_list_says_how_far_each_is_and_that_kafka_forgets() -> None:
    said = listed([Known(replay(880), 2), Known(replay(), 0)])

    assert said[1].split() == ["june", "2", "at", "work", "98%", "1,710", "20", "delivery-a", "--from", "2026-06-01"]
    assert said[2].split() == ["june", "done", "100%", "1,710", "0", "delivery-a", "--from", "2026-06-01"]
    assert "7 days" in said[-1]


def test_columns_line_up_and_numbers_stand_to_the_right() -> None:
    assert table(("name", "left"), [("june", "1,000"), ("a", "7")]) == ["name   left", "june  1,000", "a         7"]


def test_for_scripts_every_partition_is_told() -> None:
    told = as_json(replay(880), members=1)

    assert told["left"] == 20
    assert [(each["partition"], each["next_offset"]) for each in told["partitions"]] == [(0, 1_500), (1, 880)]  # type: ignore[attr-defined]  # JSON


def test_where_nothing_is_left_to_rehearse_a_replay_is_said_to_be_done() -> None:
    said = list(rehearsed_in_words("june", []))

    assert said[0].startswith("Replay june is done: nothing of its range is left")
    assert "replay drop june" in said[-1]
    assert not any("records" in line for line in said)


def test_one_of_a_kind_is_said_in_the_singular() -> None:
    alone = Stretch(0, 9, ASKED, {"delivered": 7}, lost=1, unknown=1)
    said = summary(Replay("june", "g.replay.june", dict(ASKED), {A: Standing(alone, 8)}), {"delivered": 7})

    assert said[0].endswith(": 1 offset is left.")
    assert "1 offset was deleted by retention before being read, and not sent." in said
    assert any(line.startswith("identity-unknown: 1 visitor of whom") for line in said)
