"""What the demo says at the end: every record under its outcome, held against what was produced.

Values in, tables and text out: nothing is started, fetched or printed in here.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from rich.table import Table

from worker.core.outcomes import Outcome, Reason
from worker.demo.site import Produced

Tally = Counter[tuple[Outcome, Reason]]

_MEANINGS: Mapping[Reason, str] = {
    Reason.DELIVERED: "taken by the API",
    Reason.NULL_VALUE: "a tombstone",
    Reason.NO_CONSENT: "required consent is missing",
    Reason.CONSENT_DENIED: "required consent is denied",
    Reason.ABSORBED: "identify, group: not sent",
    Reason.UNMAPPED: "no mapping for this event",
    Reason.SWITCHED_OFF: "switched off in the mapping",
    Reason.UNDECODABLE: "no Avro",
    Reason.UNKNOWN_SCHEMA: "nobody knows its schema",
    Reason.INVALID_EVENT: "no id, or no name",
    Reason.TOO_LARGE: "does not fit in a request",
    Reason.REJECTED: "the API refuses this one",
}
_HEADINGS = {Outcome.DELIVERED: "delivered", Outcome.FILTERED: "filtered", Outcome.DEAD_LETTERED: "dead-lettered"}


def expected(records: Iterable[Produced]) -> Tally:
    """What is to become of these."""
    return Counter((record.outcome, record.reason) for record in records)


def counted(metrics: str) -> Tally:
    """What the worker says has become of its records, from the text of its `/metrics`."""
    tally: Tally = Counter()
    for labels, value in _series(metrics, "dreamdata_worker_records_total"):
        tally[Outcome(labels["outcome"]), Reason(labels["reason"])] = value
    return +tally


def answers(metrics: str) -> Mapping[str, int]:
    """How many requests came back with which status."""
    return {labels["status"]: value for labels, value in _series(metrics, "dreamdata_worker_requests_total") if value}


@dataclass(frozen=True, slots=True)
class Result:
    """The worker's word beside what was produced, and beside what the sandbox and the dead-letter topic hold."""

    expected: Tally
    counted: Tally
    taken_ids: Counter[str]
    expected_ids: frozenset[str]
    dead_letters: int

    @property
    def problems(self) -> list[str]:
        """Everything that does not add up, one sentence each; empty when all does."""
        found = [
            f"{_words(*key)}: {self.expected[key]:,} expected, {self.counted[key]:,} counted"
            for key in sorted(self.expected | self.counted, key=_order)
            if self.expected[key] != self.counted[key]
        ]
        taken = set(self.taken_ids)
        if missing := len(self.expected_ids - taken):
            found.append(f"{missing:,} events that were to be delivered did not reach the API")
        if surplus := len(taken - self.expected_ids):
            found.append(f"{surplus:,} events reached the API that should not have")
        dead = sum(count for (outcome, _), count in self.expected.items() if outcome is Outcome.DEAD_LETTERED)
        if dead != self.dead_letters:
            found.append(f"{dead:,} dead letters expected, {self.dead_letters:,} are in their topic")
        return found

    @property
    def repeated(self) -> int:
        """Events the API took more than once: allowed after a crash, and none without one."""
        return self.taken_ids.total() - len(self.taken_ids)


def table(result: Result) -> Table:
    """One row a reason, a sum for each outcome, and the sum of it all."""
    shown = Table(title="What became of every record", title_justify="left", header_style="bold")
    shown.add_column("outcome")
    shown.add_column("reason")
    shown.add_column("records", justify="right")
    shown.add_column("which means")
    for outcome, heading in _HEADINGS.items():
        rows = [key for key in sorted(result.counted, key=_order) if key[0] is outcome]
        for row, key in enumerate(rows):
            shown.add_row("" if row else heading, key[1].value, f"{result.counted[key]:,}", _MEANINGS.get(key[1], ""))
        if len(rows) > 1:
            total = sum(result.counted[key] for key in rows)
            shown.add_row("", "", f"{total:,}", f"{_HEADINGS[outcome]} in all", style="bold")
        shown.add_section()
    shown.add_row("in all", "", f"{result.counted.total():,}", f"of {result.expected.total():,} produced", style="bold")
    return shown


def verdict(result: Result) -> str:
    """Whether it adds up, in words."""
    if problems := result.problems:
        return "\n".join(["It does not add up:", *(f"  - {problem}" for problem in problems)])
    twice = f"{result.repeated:,} of them more than once" if result.repeated else "none of them twice"
    return (
        f"It adds up: all {result.expected.total():,} records ended where they should, each under one outcome. "
        f"The API took {len(result.taken_ids):,} events, {twice}; "
        f"{result.dead_letters:,} dead letters lie in their topic with their original bytes."
    )


def brief(tally: Tally) -> str:
    """The three outcomes in a line."""
    sums = {
        heading: sum(count for key, count in tally.items() if key[0] is outcome)
        for outcome, heading in _HEADINGS.items()
    }
    return ", ".join(f"{count:,} {heading}" for heading, count in sums.items())


def requests(statuses: Mapping[str, int]) -> str:
    """How many requests it took, and why some were refused."""
    counts = ", ".join(f"{status} ({count:,} times)" for status, count in sorted(statuses.items()))
    why = "; a refused batch is halved until the one bad event stands alone" if "400" in statuses else ""
    return f"Requests by answer: {counts}{why}."


def excerpt(body: Mapping[str, object], message_id: str) -> str:
    """The request body as JSON, cut to one event of its batch; how many others there were is said where they stood."""
    batch = body["batch"]
    assert isinstance(batch, list)
    place = next(index for index, item in enumerate(batch) if item["messageId"] == message_id)
    around = (
        [f"… {place} before it …"] * (place > 0),
        [f"… {len(batch) - place - 1} after it …"] * (place < len(batch) - 1),
    )
    return json.dumps({**body, "batch": [*around[0], batch[place], *around[1]]}, indent=2, ensure_ascii=False)


def addresses(sandbox: str, worker: str, bootstrap_servers: str, folder: Path, settings: Mapping[str, str]) -> str:
    """Where to look while it runs, and what to try. `settings` are the worker's."""
    shared = " ".join(f"{name}={value}" for name, value in settings.items())
    return f"""
What the API was sent     {sandbox}/
The worker's metrics      {worker}/metrics
Ready, and if not why     {worker}/readyz
Kafka                     {bootstrap_servers}
The worker's log          {folder}/worker.log

Make the API fail for a while, and see the worker wait and go on:
  curl -X PUT {sandbox}/faults -d '[{{"status": 503, "count": 20}}]'
Refuse its key, and see at /readyz why it holds:
  curl -X PUT {sandbox}/faults -d '[{{"status": 401}}]'
All is well again; the worker notices within half a minute:
  curl -X PUT {sandbox}/faults -d '[]'

The other commands (check, tap, emit, replay, dead-letters) work on it, in another terminal with these settings:
  export {shared}

Ctrl-C stops everything and removes its files (--keep leaves them).
"""


def what_next() -> str:
    """The last words of a demo."""
    return """
What to try next:
  make demo-live                           the same without end, with pages to look at
  .venv/bin/dreamdata-worker sandbox       the stand-in for the API alone
  .venv/bin/dreamdata-worker run --help    the worker itself
  README.md                                how to set it up, and when nothing arrives
"""


def _series(metrics: str, name: str) -> list[tuple[Mapping[str, str], int]]:
    families = text_string_to_metric_families(metrics)
    samples = (sample for family in families for sample in family.samples)
    return [(sample.labels, int(sample.value)) for sample in samples if sample.name == name]


def _order(key: tuple[Outcome, Reason]) -> tuple[int, int]:
    return list(Outcome).index(key[0]), list(Reason).index(key[1])


def _words(outcome: Outcome, reason: Reason) -> str:
    return f"{_HEADINGS[outcome]} ({reason.value})" if reason.value else _HEADINGS[outcome]
