"""Avro's binary encoding, read straight from the bytes of a record with functions made once per writer schema.

`wire.py` numbers and lengths → `building.py` one function per type → `reading.py` a value, `skipping.py` none →
`event_reader.py` a whole event in one function. Nothing in here parses or checks a schema (fastavro does), writes Avro,
or knows framings. Schemas come as fastavro's `parse_schema` leaves them.

What all of it rests on: an index never goes back, and every item of an array or a map moves it on by a byte or more.
So nothing reads longer than there are bytes, whatever they claim. Lengths are not held against the end of the bytes one
by one: a slice past the end is short, the next index raises IndexError, and behind the last field the index itself
tells.
"""
