"""What events a schema can hold, and which it makes impossible. Values in, results out; no file and no registry."""

from collections.abc import Collection

from worker.check.results import Result, Verdict, finding, ok, warning
from worker.core.plans import Plan

_IDS = ("anonymousId", "userId")


def judge_schema(area: str, label: str, plan: Plan, *, consent_required: bool, matters: bool) -> Result:
    """`matters`: events are expected in it, so that what makes them fail is a finding; otherwise it is only listed."""
    if plan.refused:
        what, remedy = f"{label} cannot be read: {plan.refused}", "register an Avro schema with a record at its top"
        return finding(area, what, remedy) if matters else ok(area, what)
    details = (
        f"found: {', '.join(plan.fields_found) or 'none'}",
        f"missing: {', '.join(plan.fields_missing) or 'none'}",
    )
    if problems := _problems(plan, consent_required=consent_required):
        what = f"{label}: {'; '.join(problems)}"
        remedy = "add the fields to the schema, under these names or in snake_case; schemas/README.md says which types"
        return Result(area, Verdict.FINDING, what, remedy, details) if matters else ok(area, what, *details)
    what = f"{label}: {len(plan.fields_found)} fields found, {len(plan.fields_missing) or 'none'} missing"
    if "event" in plan.fields_missing and matters:
        return warning(
            area, f"{what}; without `event`, every track is a dead letter", "add the field `event`", *details
        )
    return ok(area, what, *details)


def _problems(plan: Plan, *, consent_required: bool) -> list[str]:
    missing: Collection[str] = plan.fields_missing
    found: list[str] = []
    if "type" in missing:
        found.append("without `type`, every event is a dead letter")
    if all(name in missing for name in _IDS):
        found.append("with neither `anonymousId` nor `userId`, every event is a dead letter")
    if "timestamp" in missing:
        found.append("without `timestamp`, every event is a dead letter")
    elif not plan.tells_instant:
        found.append("a `timestamp` that is but a number says no instant, so every event is a dead letter")
    if consent_required and any(name in missing for name in ("context", "context.consent")):
        found.append("without `context.consent`, every event is filtered (`no-consent`)")
    return found
