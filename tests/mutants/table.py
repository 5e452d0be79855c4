"""The mutants: one small change each, of a kind that loses, doubles or stalls events. Texts only: `run.py` tries them.

`before` must be in its file exactly once (a fast test sees to it), and what comes out must be Python. A mutant that no
fast test notices, nor one that it names itself, is a hole in the tests, not in this table.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True)
class Mutant:
    """`harm` is what a user would see of it: lost, doubled, stalled, leaked.

    `killers` are the tests that must notice it where the fast ones cannot, because it takes a real broker.
    """

    name: str
    file: str
    before: str
    after: str
    harm: str
    killers: tuple[str, ...] = ()

    @property
    def tests(self) -> tuple[str, ...]:
        """Those most likely to notice: of its own module, and the random walks."""
        own = f"tests/unit/core/test_{PurePosixPath(self.file).stem}.py"
        return (own, "tests/properties/test_pipeline.py", "tests/properties/test_poison.py")


RECORDS = "worker/core/records.py"
BATCHING = "worker/core/batching.py"
LANES = "worker/core/lanes.py"
GATE = "worker/core/gate.py"
JUDGING = "worker/core/judging.py"
PIPELINE = "worker/core/pipeline.py"
INTAKE = "worker/core/intake.py"
IDENTITY = "worker/core/identity.py"
DECISIONS = "worker/core/decisions.py"
CONSENT = "worker/core/consent.py"
EVENTS = "worker/core/events.py"
PAYLOADS = "worker/core/payloads.py"
COMMITTER = "worker/committer.py"
LOOP = "worker/loop.py"
CLIENT_PROPERTIES = "worker/client_properties.py"
KAFKA = "worker/kafka.py"

MUTANTS = (
    # offsets
    Mutant(
        "commit when sent",
        LANES,
        "if span.state is not SpanState.SETTLED or (",
        "if span.state not in (SpanState.SETTLED, SpanState.SENT) or (",
        "lost: what was on the wire when the process died",
    ),
    Mutant(
        "prefix jumped by a later success",
        LANES,
        "            if span.state is not SpanState.SETTLED or (settled and portion_bytes > MAX_SHARE_BYTES):\n"
        "                break\n",
        "            if span.state is not SpanState.SETTLED:\n                continue\n",
        "lost: the batch in front that is still being retried",
    ),
    Mutant(
        "committed_share pops one too many",
        LANES,
        "for _ in range(share.spans):",
        "for _ in range(min(share.spans + 1, len(self.spans))):",
        "lost: a span that nobody has delivered",
    ),
    Mutant(
        "position committed while a backlog waits",
        LANES,
        "and not self.backlog and not self.suspects and self.position",
        "and self.position",
        "lost: records that wait for their schema",
    ),
    Mutant(
        "position committed over unsettled spans",
        LANES,
        "if len(settled) == len(self.spans) and",
        "if",
        "lost: everything that is read but not delivered",
    ),
    Mutant(
        "a record's own offset committed",
        RECORDS,
        "return self.offset + 1",
        "return self.offset",
        "doubled: the last record, at every restart",
    ),
    Mutant(
        "a start that nobody committed passes for committed",
        PIPELINE,
        "lane.committed = committed",
        "lane.committed = start",
        "lost: what comes to a quiet topic between two starts",
    ),
    Mutant(
        "transaction's failure ignored",
        PIPELINE,
        "                continue\n            trouble = lane.trouble",
        "                continue\n            lane.committed_share(share, now)\n            trouble = lane.trouble",
        "lost: dead letters and offsets of a refused transaction",
    ),
    Mutant(
        "two transactions in the air",
        PIPELINE,
        "if self.committing or now - self._commit_began_at",
        "if now - self._commit_began_at",
        "doubled: the same dead letters, twice",
    ),
    Mutant(
        "last commit with refused lanes in it",
        PIPELINE,
        "self._begin([lane for lane in lanes if lane.trouble.refusal is None])",
        "self._begin(lanes)",
        "doubled: what the other lanes had delivered before the rebalance",
    ),
    Mutant(
        "commit as large as all lanes together",
        PIPELINE,
        "            commit_bytes += share.extra_bytes\n",
        "",
        "stalled: a transaction that never gets through before its time-out",
    ),
    # epochs
    Mutant(
        "late answer settles a newer span",
        LANES,
        "        if batch.epoch != self.epoch:\n            return None\n"
        "        return next((span for span in self.spans if span.batch is batch), None)",
        "        return next((span for span in self.spans if span.first_offset == batch.first_offset), None)",
        "lost: what is read behind that offset now and was not in the old batch",
    ),
    Mutant(
        "late transaction counts for a newer lane",
        PIPELINE,
        "return lane if lane is not None and lane.epoch == share.epoch else None",
        "return lane",
        "lost: spans that were read anew and are popped undelivered",
    ),
    Mutant(
        "gate not told of a lane given away",
        PIPELINE,
        "        self._judge.answered(batch.number",
        "        if span is None:\n            return\n        self._judge.answered(batch.number",
        "stalled: held for ever, waiting for a probe that came home long ago",
    ),
    Mutant(
        "gate not told of a probe taken back",
        PIPELINE,
        "            self.gate.dropped(batch.number, now)\n",
        "",
        "stalled: held for ever after a rebalance",
    ),
    Mutant(
        "what a hold took back stays sent",
        PIPELINE,
        "            if span is not None:\n                span.state = SpanState.SEALED\n\n    def committed",
        "\n    def committed",
        "stalled: the lane waits for an answer to what was never asked",
    ),
    # bodies
    Mutant(
        "separator byte not counted when added",
        BATCHING,
        "len(item.payload) + (1 if self.items else 0)",
        "len(item.payload)",
        "stalled: 413 to bodies that are a few bytes too long",
    ),
    Mutant(
        "separator byte not counted when asked",
        BATCHING,
        "        comma = 1 if self.items else 0\n",
        "        comma = 0\n",
        "a body of exactly the limit",
    ),
    Mutant(
        "envelope not counted",
        BATCHING,
        'ENVELOPE_BYTES = len(_HEAD % (b"0" * 36, b"0" * 24)) + len(_TAIL)',
        "ENVELOPE_BYTES = 0",
        "bodies 88 bytes over the limit",
    ),
    Mutant(
        "an event alone may reach the limit",
        BATCHING,
        "return max_bytes - ENVELOPE_BYTES - 1",
        "return max_bytes - ENVELOPE_BYTES",
        "stalled or 413: a body of exactly the limit",
    ),
    Mutant(
        "one event too many in a batch",
        BATCHING,
        "len(self.items) < max_events",
        "len(self.items) <= max_events",
        "bodies over BATCH_MAX_EVENTS",
    ),
    Mutant(
        "halves lose an event in between",
        BATCHING,
        "(back, self.items[middle:])",
        "(back, self.items[middle + 1 :])",
        "lost: one event of every halving",
    ),
    Mutant(
        "halves lose a filtered record in between",
        BATCHING,
        "return entries[:place], entries[place:]",
        "return entries[:place], entries[place + 1 :]",
        "lost: a dead letter, or the count of a filtered record",
    ),
    Mutant(
        "front half answers for the whole span",
        BATCHING,
        "front.next_offset, back.next_offset = border, self.next_offset",
        "front.next_offset, back.next_offset = self.next_offset, self.next_offset",
        "lost: the back half, once the front is taken",
    ),
    Mutant(
        "identity runs ahead of its offset",
        BATCHING,
        'front.changes, back.changes = _cut(self.changes, border, attrgetter("offset"))',
        "front.changes, back.changes = self.changes, []",
        "leaked: an earlier event, read again, carries what a later one taught",
    ),
    # turns
    Mutant(
        "linger never seals",
        LANES,
        "if hurry or now - span.opened_at >= self.limits.linger_seconds:",
        "if hurry:",
        "stalled: the last events of a quiet topic",
    ),
    Mutant(
        "one more in flight than allowed",
        LANES,
        "for span in self.spans) >= self.limits.in_flight",
        "for span in self.spans) > self.limits.in_flight",
        "out of order",
    ),
    Mutant(
        "back-pressure never pauses",
        PIPELINE,
        "should = self._draining or lane.should_pause()",
        "should = self._draining",
        "memory without bound in an outage",
    ),
    Mutant(
        "resume forgotten",
        PIPELINE,
        "return commands + ([Resume(tuple(resume))] if resume else [])",
        "return commands",
        "stalled: a partition that was paused once",
    ),
    Mutant(
        "backlog put back in reverse",
        INTAKE,
        "lane.backlog.extendleft(record for record, _ in reversed(lane.suspects))",
        "lane.backlog.extendleft(record for record, _ in lane.suspects)",
        "lost or doubled: spans whose offsets fall",
    ),
    # answers
    Mutant(
        "retry forgotten",
        JUDGING,
        "                return\n        span.state = SpanState.SEALED\n",
        "                return\n",
        "stalled: a batch that once got a 503",
    ),
    Mutant(
        "back-off never begins",
        JUDGING,
        "        trouble.retries += 1\n",
        "",
        "an API that is down gets every batch again at once",
    ),
    Mutant(
        "back-off never grows",
        JUDGING,
        "            if answer.verdict is not Verdict.NOT_NOW:\n",
        "            if answer.verdict is not None:\n",
        "an API that is down for hours gets every batch again each second",
    ),
    Mutant(
        "silence is suspicious",
        JUDGING,
        "        if answer.status is not None and answer.status >= 500:\n",
        "        if answer.status != 200:\n",
        "batches taken apart for a network that is down",
    ),
    Mutant(
        "give-up forgets an earlier hold",
        JUDGING,
        "self._gate.held_seconds(now) - trouble.held_before",
        "self._gate.held_seconds(now)",
        "stalled: hours longer than GIVE_UP_AFTER_SECONDS",
    ),
    Mutant(
        "an accused single is probed as slowly as a key",
        JUDGING,
        "                again_at_once = trouble.worked_since\n",
        "",
        "half a minute's pause of everything for each refusal of one visitor's words",
    ),
    Mutant(
        "hold leaves the gate open",
        GATE,
        "PROBE_INTERVAL_SECONDS)\n            self._settle(now)\n\n    def not_now",
        "PROBE_INTERVAL_SECONDS)\n\n    def not_now",
        "thousands of requests with a revoked key",
    ),
    Mutant(
        "a probe's failure opens the gate",
        GATE,
        "            self._probe_due_at = answer.started_at + PROBE_INTERVAL_SECONDS\n",
        "            self._forbidden = None\n            self._settle(answer.ended_at)\n",
        "a hold that flaps with every time-out",
    ),
    Mutant(
        "what was on the wire opens the gate",
        GATE,
        "        if self.shut and not probe:\n            return False\n",
        "",
        "a hold that flaps with every late answer",
    ),
    Mutant(
        "rejection limit ignored",
        GATE,
        "if self._rejected_in_a_row <= self._limit:",
        "if self._rejected_in_a_row:",
        "lost to the dead letters: everything, after a bad deploy",
    ),
    Mutant(
        "rejections never forgiven",
        GATE,
        "        self._rejected_in_a_row = 0\n        self._too_many_rejections = False\n",
        "        self._too_many_rejections = False\n",
        "a hold for every eleventh bad event of the process's life",
    ),
    Mutant(
        "give-up counts held time",
        JUDGING,
        "return now - trouble.first_attempt_at - held >= limit",
        "return now - trouble.first_attempt_at >= limit",
        "lost to the dead letters: what waited for a new key",
    ),
    Mutant(
        "a 403 alone condemns",
        JUDGING,
        "        if trouble.refusals >= REFUSALS_TO_CONDEMN:\n",
        "        if trouble.refused_at:\n",
        "lost to the dead letters: innocents, when a revoked key works again",
    ),
    Mutant(
        "one refusal after a success condemns",
        JUDGING,
        "REFUSALS_TO_CONDEMN = 2",
        "REFUSALS_TO_CONDEMN = 1",
        "lost to the dead letters: innocents, when a key or a service comes and goes",
    ),
    Mutant(
        "a 403 that comes and goes begins no truce",
        JUDGING,
        "                trouble.tried = True\n",
        "",
        "lost to the dead letters: innocents, when a key comes and goes",
    ),
    Mutant(
        "an earlier success condemns",
        JUDGING,
        "                if trouble.refused_at is not None and trouble.refused_at > answer.started_at:\n"
        "                    continue\n",
        "",
        "lost to the dead letters: innocents refused after a key was revoked",
    ),
    Mutant(
        "no truce",
        JUDGING,
        "return now - self._recovered_at < TRUCE_SECONDS",
        "return False",
        "lost to the dead letters: innocents, in an outage that ends by fits and starts",
    ),
    Mutant(
        "a condemned single is never tried again",
        LANES,
        "(span.trouble.suspect or not span.trouble.sentence)",
        "not span.trouble.sentence",
        "stalled: a lane with nothing else in it",
    ),
    # contents
    Mutant(
        "identity learned from its own record",
        DECISIONS,
        "        if event.type == IDENTIFY:\n            return own or None\n",
        "",
        "leaked: a forwarded identify carries what it did not say",
    ),
    Mutant(
        "identity lost at a restart",
        PIPELINE,
        "lane.identities = Identities(self._identity_ttl_ms, known)",
        "lane.identities = Identities(self._identity_ttl_ms)",
        "events without email after every rebalance",
    ),
    Mutant(
        "identity of another user attached",
        IDENTITY,
        "        if user_id and state.user_id and user_id != state.user_id:\n            return None\n",
        "",
        "leaked: A's email on B's events, in a shared browser",
    ),
    Mutant(
        "what is not chosen forgotten",
        IDENTITY,
        "        if len(traits) == len(state.traits):\n",
        "        if traits:\n",
        "lost: traits that TRAITS will name again",
    ),
    Mutant(
        "a state taken for ready as it was learned",
        IDENTITY,
        "if known.startswith(_READY) else",
        "if known else",
        "other bodies after a restart: traits in the order they came in",
    ),
    Mutant(
        "another user's traits kept",
        IDENTITY,
        "            state = State(None, at_ms, {})\n        state.user_id",
        "            pass\n        state.user_id",
        "leaked: A's email under B's name",
    ),
    Mutant(
        "denied consent forgets nobody",
        DECISIONS,
        "            identities.forget(visitor, offset=record.offset)",
        "            pass",
        "leaked: traits of somebody who has said no",
    ),
    Mutant(
        "1 counts as granted",
        CONSENT,
        "if value is True:",
        "if value == True:",
        "sent without consent",
    ),
    Mutant(
        "micros rounded",
        EVENTS,
        "milliseconds = value // units_per_ms",
        "milliseconds = round(value / units_per_ms)",
        "events a millisecond in the future, out of order",
    ),
    Mutant(
        "messageId derived anew at redelivery",
        PAYLOADS,
        '{record.offset}:{record.timestamp_ms}"',
        '{record.offset}:{id(record)}"',
        "doubled: the API cannot know it again",
    ),
    Mutant(
        "batch id derived from its size",
        PAYLOADS,
        '"\\n".join(message_ids)',
        "str(len(list(message_ids)))",
        "lost: a batch taken for the one before",
    ),
    Mutant(
        "linger counted from the start of the clock",
        LANES,
        "now - span.opened_at >= self.limits.linger_seconds",
        "now >= self.limits.linger_seconds",
        "stalled: the rate limit is spent on requests of a few events",
    ),
    Mutant(
        "probe passes over every other lane",
        PIPELINE,
        "turns.index(last) + 1 if last",
        "turns.index(last) + 2 if last",
        "stalled: a lane that is never probed, where the others are refused for their content",
    ),
    # the edges
    Mutant(
        "identity written outside the transaction",
        COMMITTER,
        "                self._produce(producer, record)\n",
        "                identity = record.to.refusal is HoldReason.IDENTITY_REFUSED\n"
        "                outside = Producer(self._properties) if identity else producer\n"
        "                self._produce(outside, record)\n"
        "                outside.flush()\n",
        "leaked: what is known runs ahead of what is delivered, and other bodies are sent after a crash",
        killers=("tests/crash/test_refused_writes.py",),
    ),
    Mutant(
        "records of a former assignment handed out",
        KAFKA,
        "if (tp := TopicPartition(*place)) in self._started}",
        "if (tp := TopicPartition(*place))}",
        "doubled: a partition that came back begins with what was read before it left",
        killers=("tests/integration/test_consumer.py",),
    ),
    Mutant(
        "topics made by whoever asks for them",
        CLIENT_PROPERTIES,
        '        "allow.auto.create.topics": "false",\n',
        "",
        "lost and leaked: a deleted dead-letter topic comes back with a week's retention, an identity log uncompacted",
        killers=("tests/integration/test_dead_letters.py",),
    ),
    Mutant(
        "metadata renewed for an old commit",
        LOOP,
        "                self._pipeline.commit_failed(commit, refusal, detail, now)\n",
        "                self._begin(commit)\n",
        "lost and doubled: a former owner moves offsets back, and writes dead letters and identities a second time",
        killers=(
            "tests/crash/test_moves.py::test_a_transaction_that_comes_after_its_partition_has_moved_writes_nothing",
        ),
    ),
)
