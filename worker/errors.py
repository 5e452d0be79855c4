"""The worker's own exceptions. Each class has exactly one disposition: retry, reject or stop; callers dispatch on the
class alone.

Foreign exceptions are translated where their library is imported and never pass an edge.
"""


class WorkerError(Exception):
    """Base of all errors this program raises on purpose."""


class SettingsError(WorkerError):
    """Stop, exit 2: the settings or arguments are wrong. `problems` lists all of them, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class KafkaStoppedError(WorkerError):
    """Stop, exit 1: Kafka says this client cannot go on.

    A fenced static member, or `KAFKA_AUTO_OFFSET_RESET=error` struck.
    """


class KafkaUnavailableError(WorkerError):
    """Retry: the broker could not be reached or refused for now; nothing was changed."""


class GroupBusyError(WorkerError):
    """Stop: the group has members, so that nobody else may change it. What they have committed counts."""


class TopicRefusedError(WorkerError):
    """Retry, held: a topic of the worker's own is missing or cannot be written; somebody has to give a right or make
    it.
    """


class NotPublishedError(WorkerError):
    """Stop, exit 1: Kafka did not take a test event, or did not say so in time."""


class RightMissingError(WorkerError):
    """Retry, held: Kafka does not allow it; somebody has to grant a right."""


class SchemaUnavailableError(WorkerError):
    """Retry: nobody can tell for now whether there is such a schema. The message says what happened and what to set."""


class NoSuchSchemaError(WorkerError):
    """Reject, once it has been said twice: there is no such schema."""
