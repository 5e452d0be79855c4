"""What `check` looks at, and what it thinks of it. Sends nothing, makes nothing, commits nothing.

`areas` asks, the other modules judge values and know no client, `report` writes.
"""
