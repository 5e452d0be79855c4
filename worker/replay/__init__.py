"""A range sent again without touching the live group: which one, how far it is, what was known of visitors before it.

The pipeline, the loop and the edges are `run`'s; in here is only what a run with an end needs besides.
"""
