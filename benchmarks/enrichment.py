"""What it costs an event that its visitor is known: decided with all visitors known, and with none. No Kafka."""

import gc
import time
from statistics import median

from tests.builders import SCHEMA, TIME_MS, TP, TTL_MS, event, policy
from worker.core.batching import Item
from worker.core.decisions import Decider
from worker.core.identity import Identities, Known, visitor_of
from worker.core.records import Record

VISITORS = 20_000
ROUNDS = 15


def cpu_seconds(identities: Identities) -> float:
    """Of one event of each visitor."""
    decider = Decider(policy())
    events = [event(anonymous_id=f"df_{number:08x}", user_id=f"user-{number}") for number in range(VISITORS)]
    record = Record(1, TIME_MS, None, b"")
    gc.collect()
    started = time.process_time()
    for each in events:
        decision = decider.decide(TP, record, each, identities, schema=SCHEMA, now=0.0)
    ended = time.process_time()
    assert isinstance(decision, Item)
    assert decision.identified is (len(identities) > 0)
    return ended - started


def all_known() -> Identities:
    identities = Identities(TTL_MS, Known({}, {}))
    for number in range(VISITORS):
        traits: dict[str, object] = {
            "email": f"visitor-{number}@example.com",
            "name": f"Visitor {number}",
            "company": f"Example {number % 99}",
        }
        visitor = visitor_of(f"df_{number:08x}", None)
        assert visitor is not None
        identities.learn(visitor, f"user-{number}", traits, at_ms=TIME_MS, offset=0)
    return identities


def microseconds() -> float:
    """The median of several rounds, in turn."""
    known, nobody = all_known(), Identities(TTL_MS)
    rounds = [cpu_seconds(known) - cpu_seconds(nobody) for _ in range(ROUNDS)]
    return median(rounds) / VISITORS * 1e6


if __name__ == "__main__":
    print(f"{microseconds():.2f} µs an event")
