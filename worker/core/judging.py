"""What an answer does to the span it answers for, and to the gate: settle, retry, halve, park, hold.

This is contract.md's table "What the API answers, and what the worker does", with DESIGN §2's rules for poison that
looks like something else.
"""

from collections.abc import Iterable, Sequence

from worker.core.batching import Item, Span, SpanState
from worker.core.gate import Gate
from worker.core.lanes import Lane, Limits
from worker.core.outcomes import Answer, DeadLetter, HoldReason, Reason, Stage, Verdict
from worker.core.records import TopicPartition

# One event that always gets a 500 must not stop its partition for ever; an outage of a few minutes must not take a
# batch apart.
SERVER_ERRORS_SECONDS = 600.0

# A firewall's 403 for one visitor's words: a key that is merely wrong is refused for everybody, so two refused probes
# of one batch are a hint.
PROBES_FORBIDDEN = 2

# Once a piece is taken that had been refused before, refusals were not about content: nothing is condemned for so long,
# because an outage or a key may recover by fits and starts.
TRUCE_SECONDS = 600.0

# How often a single must be refused alone, each time after a success. Once is what a key or a service that comes and
# goes does to innocents as well: by the second time something refused has been taken, and the truce has begun.
REFUSALS_TO_CONDEMN = 2


class Judge:
    """`last_refused` is where the gate was shut, for the probe's rotation."""

    def __init__(self, gate: Gate, limits: Limits) -> None:
        self._gate = gate
        self._limits = limits
        self.last_refused: TopicPartition | None = None
        self._recovered_at = float("-inf")

    def answered(
        self,
        number: int,
        answer: Answer,
        lane: Lane | None,
        span: Span | None,
        lanes: Iterable[Lane],
        now: float,
    ) -> None:
        """`lane` and `span` are None where the partition was given away since: then only the gate is told."""
        probe = self._gate.came_home(number)
        if span is not None:
            span.trouble.attempts += 1
            if answer.verdict is not Verdict.NOT_NOW:
                span.trouble.retries = 0
        match answer.verdict:
            case Verdict.TAKEN:
                counts = self._gate.taken(probe=probe, now=now)
                if span is not None:
                    self._recovered_at = now if span.trouble.tried else self._recovered_at
                    span.deliver()
                self._something_worked(answer, lanes, counts=counts, truce=self._truce(now))
            case Verdict.NOT_NOW:
                self._gate.not_now(answer, probe=probe)
                if lane is not None and span is not None:
                    self._not_now(lane, span, answer, now)
            case Verdict.BAD | Verdict.TOO_BIG:
                self._gate.key_works(probe=probe, now=now)
                if lane is not None and span is not None:
                    self._rejected(lane, span, answer, probe=probe, now=now)
            case Verdict.FORBIDDEN | Verdict.WRONG_ADDRESS:
                self._forbidden(lane, span, answer, probe=probe, now=now)

    def _truce(self, now: float) -> bool:
        return now - self._recovered_at < TRUCE_SECONDS

    @staticmethod
    def _something_worked(answer: Answer, lanes: Iterable[Lane], *, counts: bool, truce: bool) -> None:
        """A request was taken: sentences are carried out, and refused spans learn that the API worked after their last
        refusal.

        In a truce no sentence for a 403 or 5xx is carried out. What was refused after a success stays parked until it
        is over, or nothing else is left to send; then it is tried once more.
        """
        for lane in lanes:
            for span in lane.spans:
                trouble = span.trouble
                if trouble.refused_at is not None and trouble.refused_at > answer.started_at:
                    continue
                trouble.reprieved |= truce
                if trouble.sentence and counts and span.state is SpanState.PARKED and not trouble.pardonable:
                    span.bury_items(trouble.sentence)
                elif trouble.refused_at is not None:
                    trouble.worked_since = True
                    if not (truce and trouble.refused_after_success):
                        trouble.retries = 0
                        if span.state is SpanState.PARKED:
                            span.state = SpanState.SEALED

    def _not_now(self, lane: Lane, span: Span, answer: Answer, now: float) -> None:
        trouble = span.trouble
        trouble.retries += 1
        if self._gave_up(span, now):
            letters = self._letters(span.items, span, answer, Reason.GAVE_UP, "GIVE_UP_AFTER_SECONDS passed", now)
            span.bury_items(letters)
            return
        if answer.status is not None and answer.status >= 500:
            trouble.first_server_error_at = trouble.first_server_error_at or answer.started_at
            if trouble.suspect or now - trouble.first_server_error_at >= SERVER_ERRORS_SECONDS:
                self._suspect(lane, span, answer, now)
                return
        span.state = SpanState.SEALED

    def _gave_up(self, span: Span, now: float) -> bool:
        limit, trouble = self._limits.give_up_after_seconds, span.trouble
        if limit is None or trouble.first_attempt_at is None:
            return False
        held = self._gate.held_seconds(now) - trouble.held_before
        return now - trouble.first_attempt_at - held >= limit

    def _forbidden(self, lane: Lane | None, span: Span | None, answer: Answer, *, probe: bool, now: float) -> None:
        key = answer.verdict is Verdict.FORBIDDEN
        again_at_once = False
        if lane is not None and span is not None:
            self.last_refused = lane.tp
            trouble = span.trouble
            span.state = SpanState.SEALED
            if answer.status == 403:
                trouble.tried = True
                trouble.probes_forbidden += probe
                again_at_once = trouble.worked_since
                if trouble.suspect or trouble.worked_since or trouble.probes_forbidden >= PROBES_FORBIDDEN:
                    self._suspect(lane, span, answer, now)
                else:
                    trouble.refused_at = answer.ended_at
        reason = HoldReason.UNAUTHORIZED if key else HoldReason.WRONG_ADDRESS
        self._gate.forbid(reason, probe=probe, at_once=again_at_once, now=now)

    def _suspect(self, lane: Lane, span: Span, answer: Answer, now: float) -> None:
        """Its content may be to blame: halve it down to a single; a single that is refused again and again while others
        are taken is a dead letter.

        DESIGN's rule is "another piece, started after its last refusal, was taken". That alone would condemn an
        innocent single at the end of every long outage, because whatever is sent first then succeeds. So refusals
        have to come after a success themselves, the last one too, and more than once.
        """
        trouble = span.trouble
        if trouble.sentence and trouble.worked_since and not self._truce(now):
            span.bury_items(trouble.sentence)
            return
        trouble.suspect = trouble.tried = True
        trouble.refused_after_success = trouble.worked_since
        trouble.refused_at, trouble.worked_since = answer.ended_at, False
        if len(span.items) > 1:
            # Ten minutes of 5xx and no success: more likely an outage, and a half that is taken will prove it one.
            self._halve(lane, span, tried=answer.status != 403 and not trouble.refused_after_success)
            return
        span.state = SpanState.PARKED
        trouble.refusals += trouble.refused_after_success
        if trouble.refusals >= REFUSALS_TO_CONDEMN:
            detail = "refused alone, while the API took what was sent before it"
            trouble.sentence = self._letters(span.items, span, answer, Reason.REJECTED, detail, now)

    def _rejected(self, lane: Lane, span: Span, answer: Answer, *, probe: bool, now: float) -> None:
        if len(span.items) > 1:
            self._halve(lane, span)
            return
        if answer.verdict is Verdict.TOO_BIG:
            reason, detail = Reason.TOO_LARGE, f"alone in a body of {span.size} bytes"
        else:
            reason, detail = Reason.REJECTED, "alone in its body"
        letters = self._letters(span.items, span, answer, reason, detail, now)
        if self._gate.rejected(probe=probe, now=now):
            span.bury_items(letters)
        else:
            span.state = SpanState.PARKED
            span.trouble.sentence = letters

    @staticmethod
    def _halve(lane: Lane, span: Span, *, tried: bool = False) -> None:
        halves = span.halves()
        for half in halves:
            half.trouble.tried = tried
        lane.replace(span, halves)

    @staticmethod
    def _letters(
        items: Sequence[Item], span: Span, answer: Answer, reason: Reason, detail: str, now: float
    ) -> tuple[DeadLetter, ...]:
        return tuple(
            DeadLetter(
                record=item.record,
                reason=reason,
                stage=Stage.DELIVER,
                detail=detail,
                failed_at=now,
                schema=item.schema,
                http_status=answer.status,
                http_body=answer.body,
                attempts=span.trouble.attempts,
            )
            for item in items
        )
