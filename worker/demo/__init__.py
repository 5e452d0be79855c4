"""The whole worker on one machine: an embedded Kafka, a made-up site's traffic, and a report that adds up.

Nothing the worker itself needs at run time may be in here; the demo and the tests are its only users.
"""
