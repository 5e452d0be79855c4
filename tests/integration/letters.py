"""Dead letters as a worker writes them, made without one; and the commands that look after them. No assertions here."""

import pytest

from tests.integration.cluster import Cluster, Message
from tests.integration.commands import Command, command
from worker.core.outcomes import DeadLetter, Reason, Stage
from worker.core.records import Headers, Record, TopicPartition
from worker.dead_letters import headers_again, headers_of, opened

FAILED_MS = 1_780_744_280_000  # 2026-06-06T11:11:20.000Z
SOURCE_MS = 1_780_744_274_000


Letters = Command


def letters_topic(topic: str) -> str:
    return f"{topic}.dead-letters"


def letter(
    source: Message,
    *,
    topic: str,
    group: str,
    offset: int = 0,
    source_partition: int = 0,
    reason: Reason = Reason.REJECTED,
    status: int | None = 400,
    http_body: str = "",
    redrives: int = 0,
    failed_ms: int = FAILED_MS,
    partition: int = 0,
) -> Message:
    """To be produced into the dead-letter topic. `source` is the record it was made of, `offset` where that lay."""
    tp = TopicPartition(topic, source_partition)
    record = Record(offset, SOURCE_MS, source.key, source.value, source.headers)

    def failed(of: Record) -> DeadLetter:
        return DeadLetter(of, reason, Stage.DELIVER, "made up", 0.0, None, status, http_body, 1)

    headers: Headers = headers_of(failed(record), tp, group, lambda _: failed_ms)
    for _ in range(redrives):
        lies = Record(0, SOURCE_MS, source.key, source.value, headers)
        first = opened(lies)
        assert first is not None
        headers = headers_again(failed(lies), first)
    return Message(source.value, source.key, headers, partition, failed_ms)


def letters_command(
    cluster: Cluster, topic: str, group: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Letters:
    """Runs `dead-letters` with these words, for the test's topic and group unless the settings say otherwise."""
    usual = {"KAFKA_TOPICS": topic, "KAFKA_CONSUMER_GROUP": group}
    return command(["dead-letters"], cluster, usual, monkeypatch, capsys)
