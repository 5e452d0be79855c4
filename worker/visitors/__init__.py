"""What Kafka keeps of one visitor, for whoever is asked about a person: found, shown, and forgotten.

What counts in the identity log is the core's to say (`worker.core.restoring`), and a running worker carries out what is
written here. Nothing in here may join the worker's group, make a topic or move an offset.
"""
