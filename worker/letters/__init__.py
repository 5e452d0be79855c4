"""What lies in the dead-letter topics, for whoever looks after them: found, counted, shown, sent again.

How a letter is written and opened is `worker.dead_letters`' to say. Nothing in here may touch the live group, its
offsets or the identity logs; only a redrive (`stretching.py`, `redriving.py`) writes at all, and moves its own group.
"""
