"""The fixtures of this folder are every folder's: `tests.integration.fixtures`."""

from tests.integration.fixtures import StartWorker

__all__ = ["StartWorker"]
