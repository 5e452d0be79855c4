"""What a running worker shows of single events to those who look: `GET /events`, and the command `tap` before it.

    loop's thread          moments ──▶ rings, one a watcher          (recorder.py, moments.py)
    status server's        ring ──▶ pictures, masked ──▶ the stream  (page.py, pictures.py)
    another process        the stream ──▶ lines on a terminal        (client.py, lines.py)

Nothing in here decides anything about an event, and while nobody looks nothing is recorded.
"""
