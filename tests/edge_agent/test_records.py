"""A record comes back as it was written down, or not at all."""

import random
from pathlib import Path

import pytest

from edge_agent.lifecycle import State
from edge_agent.records import Floor, Record, read_sealed, seal

RECORD = Record(state=State.COMMITTED, running="1" * 64, attempt=1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    written = tmp_path / "watch.json"
    written.write_bytes(seal(RECORD))
    return written


def test_a_record_comes_back_as_it_was_written(file: Path) -> None:
    assert read_sealed(file, Record) == RECORD


def test_one_that_was_never_written_is_missing_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_sealed(tmp_path / "none.json", Record) is None
    assert caplog.records == []


def test_a_damaged_record_is_taken_as_missing_and_said(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = file.read_bytes()
    random.seed(5)
    for at in random.sample(range(len(data)), 20):
        file.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        caplog.clear()
        assert read_sealed(file, Record) is None
        assert "watch.json: damaged" in caplog.text
    for length in (0, 10, 64, 65, len(data) - 1):
        file.write_bytes(data[:length])
        assert read_sealed(file, Record) is None


def test_a_record_of_another_time_has_what_it_can_or_is_taken_as_missing(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_bytes(seal(Floor("g", "x")))
    assert read_sealed(file, Record) == Record(), "fields that are not there have their defaults"
    file.write_bytes(seal(RECORD))
    assert read_sealed(file, Floor) is None
    assert "watch.json" in caplog.text
