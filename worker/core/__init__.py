"""The core decides; it never does.

Nothing in here reads a clock, sleeps, starts a thread, logs, or talks to anything. Time is an argument. Facts come in
as calls, commands go out as values, and the same offsets give the same payloads, ids and order whenever they are read.
"""
