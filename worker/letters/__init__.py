"""What lies in the dead-letter topics, for whoever looks after them: found, counted, shown.

How a letter is written and opened is `worker.dead_letters`' to say. Nothing in here may join the worker's group, make a
topic or move an offset.
"""
