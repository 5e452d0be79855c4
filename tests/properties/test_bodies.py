"""Every body that could ever be sent is smaller than the limit, exactly as large as was counted, and whole."""

from itertools import pairwise

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.builders import SCHEMA, TP, event, item, lane, policy, record
from tests.simulator import SENT_AT
from worker.core.batching import Batch, Item, Span, SpanState
from worker.core.decisions import Decider
from worker.core.identity import Identities
from worker.core.lanes import Limits
from worker.core.outcomes import DeadLetter, Reason, Stage

LIMIT = 2_000
ENVELOPE = len('{"messageId":"","sentAt":"","batch":[]}') + 36 + len(SENT_AT)

# all of Unicode but lone surrogates, which no UTF-8 can hold; control characters and quotes often
texts = st.text(st.characters(exclude_categories=["Cs"])) | st.text('\x00\x1f"\\/\u2028é€😀', max_size=400)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def batches(made: list[Span]) -> list[Batch]:
    return [
        Batch(1, TP, 1, span.first_offset, span.next_offset, tuple(span.items), span.size)
        for span in made
        if span.items
    ]


@settings(max_examples=100)
@given(st.lists(st.fixed_dictionaries({"text": texts, "more": values}), min_size=1, max_size=12))
@example([{"text": "x" * 1_000_000, "more": None}])
@example([{"text": "", "more": {}}])
def test_bodies_of_any_content_stay_below_the_limit_and_hold_every_event(contents: list[dict[str, object]]) -> None:
    decider = Decider(policy(batch_max_bytes=LIMIT))
    identities = Identities(1)
    made = lane(Limits(batch_max_bytes=LIMIT, batch_max_events=5))
    too_large = set()
    for offset, properties in enumerate(contents):
        read, sent = record(offset), event(message_id=f"evt_{offset}", properties=properties)
        decision = decider.decide(TP, read, sent, identities, schema=SCHEMA, now=0.0)
        if isinstance(decision, DeadLetter):
            assert decision.reason is Reason.TOO_LARGE
            too_large.add(f"evt_{offset}")
        made.place(read, decision, 0.0)

    carried: dict[str, object] = {}
    for batch in batches(list(made.spans)):
        body = batch.body(SENT_AT)
        assert len(body) == batch.size < LIMIT
        carried |= {each["messageId"]: each["properties"] for each in msgspec.json.decode(body)["batch"]}
    expected = {f"evt_{offset}": properties for offset, properties in enumerate(contents)}
    assert set(carried) | too_large == set(expected)
    assert all(carried[message_id] == expected[message_id] for message_id in carried)


@given(sizes=st.lists(st.integers(2, 600), min_size=2, max_size=60), max_events=st.integers(1, 9))
def test_under_a_backlog_bodies_are_filled_to_within_one_event(sizes: list[int], max_events: int) -> None:
    made = lane(Limits(batch_max_bytes=LIMIT, batch_max_events=max_events))
    for offset, size in enumerate(sizes):
        made.place(record(offset), item(offset, size), 0.0)

    spans = list(made.spans)
    for span, following in pairwise(spans):
        next_bytes = len(b",") + len(following.items[0].payload)
        assert len(span.items) == max_events or span.size + next_bytes >= LIMIT


@given(sizes=st.lists(st.integers(2, 300), max_size=6), over=st.integers(-2, 2))
def test_the_limit_itself_is_never_reached(sizes: list[int], over: int) -> None:
    span = Span(0, 0.0)
    for offset, size in enumerate(sizes):
        span.add(item(offset, size))
    length = ENVELOPE + sum(sizes) + max(0, len(sizes) - 1)
    comma = 1 if sizes else 0

    assert span.size == length
    assert span.fits(500, max_bytes=length + comma + 500 - over, max_events=99) is (over < 0)


def spans_of(kinds: list[str]) -> Span:
    made = Span(0, 0.0)
    for place, kind in enumerate(kinds):
        offset = 3 * place
        if kind == "item":
            made.add(item(offset, 10 + place))
        elif kind == "filtered":
            made.filter(record(offset), Reason.UNMAPPED)
        else:
            made.bury(DeadLetter(record(offset), Reason.UNDECODABLE, Stage.DECODE, "", 0.0))
    made.state = SpanState.SEALED
    return made


@given(st.lists(st.sampled_from(["item", "item", "filtered", "dead"]), max_size=30).map(lambda kinds: [*kinds, "item"]))
def test_halving_down_to_singles_loses_and_doubles_nothing(kinds: list[str]) -> None:
    whole = spans_of(kinds)
    pieces, singles = [spans_of(kinds)], []
    while pieces:
        piece = pieces.pop(0)
        if len(piece.items) > 1:
            pieces = [*piece.halves(), *pieces]
        else:
            singles.append(piece)

    assert [single.first_offset for single in singles[1:]] == [single.next_offset for single in singles[:-1]]
    assert (singles[0].first_offset, singles[-1].next_offset) == (whole.first_offset, whole.next_offset)
    assert [each for single in singles for each in single.items] == whole.items
    assert [each for single in singles for each in single.filtered] == whole.filtered
    assert [each for single in singles for each in single.dead_letters] == whole.dead_letters
    assert sum(single.records for single in singles) == whole.records
    assert all(single.size == ENVELOPE + len(single.items[0].payload) for single in singles)


@given(st.lists(texts.filter(bool), min_size=1, max_size=5))
def test_ids_are_the_same_however_often_a_batch_is_made(message_ids: list[str]) -> None:
    def body() -> bytes:
        items = [
            Item(record(offset), b"{}", message_id, "other", False, SCHEMA)
            for offset, message_id in enumerate(message_ids)
        ]
        return Batch(1, TP, 1, 0, 9, tuple(items), 0).body(SENT_AT)

    assert body() == body()
