"""What the edges tell the loop, and the queue it goes through. What a fact changes is the loop's to say."""

import queue
from dataclasses import dataclass

from worker.committer import CommitResult
from worker.core.batching import Batch
from worker.core.decoding import SchemaAnswer
from worker.core.outcomes import Answer
from worker.identity_log import LogFinding
from worker.scout import Finding


@dataclass(frozen=True, slots=True)
class Answered:
    batch: Batch
    answer: Answer


@dataclass(frozen=True, slots=True)
class KafkaTrouble:
    detail: str


Fact = Answered | CommitResult | SchemaAnswer | Finding | LogFinding | KafkaTrouble
Inbox = queue.SimpleQueue[Fact]
