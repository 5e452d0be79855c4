import pytest

from worker.emit.publisher import Publisher
from worker.errors import SettingsError


def test_a_property_the_client_does_not_know_is_a_problem_with_the_settings() -> None:
    with pytest.raises(SettingsError, match="KAFKA_CLIENT: No such configuration property"):
        Publisher({"bootstrap.servers": "127.0.0.1:1", "no.such": "1"})
