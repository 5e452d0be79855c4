from collections.abc import Callable
from typing import Any

import pytest

from worker.core.avro.building import Builder
from worker.core.avro.reading import reader
from worker.core.avro.skipping import skipper


def free_object(depth: int) -> list[Any]:
    """A union of all that a property may be, made anew: objects and lists of objects and lists, `depth` levels down."""
    if depth == 0:
        return ["null", "string"]
    below = depth - 1
    return ["string", {"type": "map", "values": free_object(below)}, {"type": "array", "items": free_object(below)}]


@pytest.mark.parametrize("made", [reader, skipper])
def test_types_written_alike_share_one_function(made: Callable[..., Builder[Any]]) -> None:
    builder = made({}, set())
    assert builder.of(free_object(5)) is builder.of(free_object(5))
    assert builder.of(free_object(5)) is not builder.of(free_object(4))
    assert builder.of(free_object(5), level=1) is not builder.of(free_object(5))
