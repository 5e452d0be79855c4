"""What `run` would send for given records, and what it would do with the rest, without sending anything.

Every decision and every byte is the core's own: in here records are fed to it, its commands are answered as by an API
that takes everything, and what it said is written down. Nothing in here may send, commit or judge an event.
"""
