"""Delivers Datafly Signal events from Kafka to the Dreamdata Events API.

Guaranteed: every record that is committed was delivered, filtered or dead-lettered, and is counted as exactly one of
the three. At least once: after a crash, what was on the wire and what was answered but not yet committed is sent again,
with the same ids.

    a partition is given to the worker   starting.py, identity_log.py
    its records are read from Kafka      kafka.py
    decoded, judged, enriched, mapped    core/decisions.py
    gathered into spans and batches      core/lanes.py, core/batching.py
    posted                               sender.py, api.py
    settled, halved or held              core/pipeline.py
    and their offsets committed          committer.py

Imports point inward: `core` knows nothing of the edges, the edges nothing of each other, and only `loop.py` and the
commands know both.
"""

__version__ = "0.1.0"
