"""Test events: what a site's calls to Signal would have made, published to a topic.

For somebody who wants to see one event on its whole way. The worker itself needs nothing of it, and nothing here reads
settings or knows of Dreamdata.

    pairs.py      words of a command line as properties or traits
    events.py     a call as the event Signal would have made of it
    publisher.py  the event as a record in Kafka
"""
