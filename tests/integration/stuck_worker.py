"""The worker as `run` puts it together, but for a committer that takes commits and never says what became of them.

Run by path, with the settings in the environment. Nothing is asserted in here.
"""

import os
import sys
import time
from dataclasses import replace

from worker import logs
from worker.assembly import edges_of, live_job, mapping_of, patience_seconds, pipeline_of, revoke_seconds
from worker.client_properties import consumer_properties
from worker.committer import Committer
from worker.core.commands import Commit
from worker.facts import Inbox
from worker.loop import Loop
from worker.metrics import Metrics
from worker.reporter import Reporter
from worker.running import end_starved
from worker.settings import load
from worker.tap.recorder import Tap
from worker.watchdog import Watchdog


class SilentCommitter(Committer):
    def __init__(self) -> None:
        """Without a thread and a producer: there is nothing to do for them."""

    def commit(self, commit: Commit, group_metadata: object) -> None:
        pass

    def close(self, timeout_seconds: float = 5.0) -> None:
        pass


def main() -> None:
    settings = load(os.environ, None)
    logs.configure(level=settings.log_level, log_format=settings.log_format, stream=sys.stderr)
    pipeline, inbox, clock = pipeline_of(settings), Inbox(), time.monotonic
    watchdog = Watchdog(patience_seconds(settings), clock, lambda stacks: end_starved(pipeline, stacks))
    loop = Loop(
        pipeline,
        inbox,
        Reporter(Metrics(), Tap(mapping_of(settings), clock, time.time), clock),
        watchdog,
        clock,
        revoke_seconds=revoke_seconds(consumer_properties(settings)),
        shutdown_seconds=settings.shutdown_timeout_seconds,
    )
    edges = replace(edges_of(settings, live_job(settings), loop, inbox, clock), committer=SilentCommitter())
    watchdog.start()
    loop.run(edges, lambda: False)


if __name__ == "__main__":
    main()
