"""The cluster's consumer groups: which there are, who is in them, and their end. Offsets are not asked for in here
(`cluster.py` says why).

confluent_kafka's types and exceptions stay in here. Every call blocks, and raises KafkaUnavailableError where nobody
answers.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from worker.complaints import in_short
from worker.errors import GroupBusyError, KafkaUnavailableError, SettingsError

Answered = TypeVar("Answered")


class Groups:
    """One AdminClient, for one thread."""

    def __init__(self, properties: Mapping[str, Any], timeout_seconds: float = 10.0) -> None:
        self._timeout_seconds = timeout_seconds
        try:
            self._admin = AdminClient(dict(properties))
        except KafkaException as error:
            raise SettingsError([f"KAFKA_CLIENT: {error.args[0].str()}"]) from error

    def names(self) -> list[str]:
        """Those this user may see, with members or without."""
        listed = _translated(lambda: self._admin.list_consumer_groups(request_timeout=self._timeout_seconds))
        found = _translated(lambda: listed.result(self._timeout_seconds))
        if found.errors and not found.valid:
            raise KafkaUnavailableError(in_short(str(found.errors[0])))
        return sorted(group.group_id for group in found.valid)

    def members(self, group: str) -> int:
        """How many there are; 0 as well where there is no such group."""
        futures = _translated(
            lambda: self._admin.describe_consumer_groups([group], request_timeout=self._timeout_seconds)
        )
        try:
            return len(_translated(lambda: futures[group].result(self._timeout_seconds)).members)
        except _NoSuchGroupError:
            return 0

    def delete(self, group: str) -> None:
        """With all it has committed; one that is gone already is no fault. Raises GroupBusyError where it has
        members.
        """
        futures = _translated(
            lambda: self._admin.delete_consumer_groups([group], request_timeout=self._timeout_seconds)
        )
        try:
            _translated(lambda: futures[group].result(self._timeout_seconds))
        except _NoSuchGroupError:
            return


class _NoSuchGroupError(Exception):
    """Reject: what brokers since 4.0 say where older ones describe a group that is dead."""


def _translated(call: Callable[[], Answered]) -> Answered:
    try:
        return call()
    except KafkaException as error:
        code = error.args[0].code()
        if code == KafkaError.GROUP_ID_NOT_FOUND:
            raise _NoSuchGroupError from error
        if code == KafkaError.NON_EMPTY_GROUP:
            raise GroupBusyError(in_short(error.args[0].str())) from error
        raise KafkaUnavailableError(in_short(error.args[0].str())) from error
    except TimeoutError as error:
        raise KafkaUnavailableError("no answer in time") from error
