"""Numbers, lengths and blocks: what Avro puts between the values. Knows no schema and no type.

Each takes the bytes and an index, and returns what stands there with the index behind it. Bytes that end too early
raise IndexError, numbers that no writer writes DecodeError.
"""

from worker.core.events import DecodeError


def long(data: bytes, at: int) -> tuple[int, int]:
    """An int or a long: zig-zag, seven bits a byte, ten bytes at most."""
    value = shift = 0
    for byte in data[at : at + 10]:
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if value >> 64:
                raise DecodeError("the bytes do not fit the writer schema (a number of more than 64 bits)")
            return (value >> 1) ^ -(value & 1), at
        shift += 7
    if shift == 70:
        raise DecodeError("the bytes do not fit the writer schema (a number of more than ten bytes)")
    raise IndexError


def length(data: bytes, at: int) -> tuple[int, int]:
    """Of a text or of bytes: never negative, or a reader would go back and round in circles.

    Lengths of one byte are mostly read in place, so that the usual one in here has two.
    """
    low = data[at]
    if low & 129 == 128 and (high := data[at + 1]) < 128:
        return (high << 7 | low & 127) >> 1, at + 2
    size, at = long(data, at)
    if size < 0:
        raise DecodeError("the bytes do not fit the writer schema (a negative length)")
    return size, at


def block(data: bytes, at: int) -> tuple[int, int, int]:
    """The head of a block of an array or a map: how many items, and where they begin.

    The third number is the index behind them where the writer has said it (with a negative count), else 0.
    """
    count = data[at]
    if not count & 129:
        return count >> 1, at + 1, 0
    count, at = long(data, at)
    if count >= 0:
        return count, at, 0
    size, at = length(data, at)
    return -count, at, at + size
