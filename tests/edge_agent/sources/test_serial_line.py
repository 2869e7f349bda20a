"""A serial line, through pyserial, on a pseudo-terminal."""

import errno
import os
import sys
import time
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.fit import StreamShape
from edge_agent.intake import Intake
from edge_agent.sources import serial_line
from edge_agent.sources.source import Source, SourceFailed, Telling
from edge_bundle.errors import ConfigError
from edge_bundle.manifest import Channel
from tests.edge_agent.sources.given import Stop, open_table, running, take

CHANNELS = 'channels = [{ name = "x", unit = "g" }, { name = "y", unit = "g" }]\n'


class Line:
    """Both ends of a line; what a sensor says goes in at ``sensor``."""

    def __init__(self) -> None:
        self.sensor, self._end = os.openpty()
        tty.setraw(self._end)
        self.device = os.ttyname(self._end)
        self._open = {self.sensor, self._end}

    def say(self, text: bytes) -> None:
        os.write(self.sensor, text)

    def unplug(self) -> None:
        self.close(self.sensor)

    def close(self, *ends: int) -> None:
        for end in ends or tuple(self._open):
            self._open.discard(end)
            os.close(end)


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.close()


def open_serial(folder: Path, device: str, table: str = CHANNELS) -> Source:
    return open_table(folder, f'kind = "serial"\ndevice = "{device}"\nrate_hz = 100.0\n{table}')


def test_lines_arrive_with_the_time_they_were_read(tmp_path: Path, line: Line) -> None:
    source = open_serial(tmp_path, line.device)
    assert source.shape == StreamShape(100.0, (Channel("x", "g"), Channel("y", "g")))
    text = b"0,9\n1,2\n3,4\nbad\n5,6\n7"
    with running(source, lambda: line.say(text)) as chunks:
        first, second = take(chunks, 3)
        line.say(b",8\n")
        third = next(chunks)
    assert [(c.samples.tolist(), c.lost) for c in (first, second, third)] == [
        ([[1.0, 2.0], [3.0, 4.0]], 0),
        ([[5.0, 6.0]], 1),
        ([[7.0, 8.0]], 0),
    ]
    assert second.end_ns - first.end_ns == 10_000_000
    assert 0 <= time.monotonic_ns() - third.end_ns < 5_000_000_000


def test_bad_line_in_a_burst_is_one_sample_lost_and_no_clock_that_jumps(
    tmp_path: Path, line: Line
) -> None:
    source = open_serial(tmp_path, line.device)
    intake = Intake(source.shape)
    with running(source, lambda: line.say(b"\n" + b"1,2\n" * 5)) as chunks:
        got = take(chunks, 5)
        line.say(b"1,2\n" * 4 + b"bad\n" + b"1,2\n" * 70)  # 0.75 s of samples at once
        got += take(chunks, 74)
    accepted = [intake.accept(c) for c in got]
    assert [(c.lost, c.restart) for c in accepted if c and (c.lost or c.restart)] == [(1, False)]
    assert intake.problems() == ""
    ends = [c.end_ns for c in got]
    assert ends == sorted(ends)


def test_line_that_gives_no_sample_says_so(tmp_path: Path, line: Line) -> None:
    source = open_serial(tmp_path, line.device)
    assert isinstance(source, Telling)
    with running(source, lambda: line.say(b"\n1;2\n3;4\n5,6\n")) as chunks:
        next(chunks)
    assert source.problems() == "2 lines were no sample, the last '3;4'"


def test_speed_that_a_line_cannot_have_is_named(tmp_path: Path, line: Line) -> None:
    source = open_serial(tmp_path, line.device, f"{CHANNELS}baud = 123456789012\n")
    with pytest.raises(SourceFailed, match=f"^{line.device}: baud 123456789012: "):
        next(iter(source.chunks(lambda _s: False)))


def test_frames_arrive(tmp_path: Path, line: Line) -> None:
    table = CHANNELS + 'format = "frames"\nvalues = "int16"\nscale = 0.5\nchecksum = "sum8"\n'
    body = np.array([-3, 8], "<i2").tobytes()
    frames = (b"\xaa\x55" + body + bytes([sum(body) & 0xFF])) * 40
    source = open_serial(tmp_path, line.device, table)
    with running(source, lambda: line.say(frames)) as chunks:
        got = np.concatenate([c.samples for c in take(chunks, 40)])
    assert got.tolist() == [[-1.5, 4.0]] * 40


def test_unplugged_line_fails_and_is_opened_again_behind_a_break(
    tmp_path: Path, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_serial(tmp_path, line.device)
    with running(source, lambda: line.say(b"\n1,2\n")) as chunks:
        assert not next(chunks).restart
        line.unplug()
        with pytest.raises(SourceFailed, match=line.device):
            next(chunks)
    other = Line()
    # The same name, as udev gives it to an adapter that is plugged in again.
    monkeypatch.setattr(source, "_table", vars(open_serial(tmp_path, other.device))["_table"])
    with running(source, lambda: other.say(b"\n3,4\n5,6\n")) as chunks:
        assert [(len(c.samples), c.restart) for c in take(chunks, 2)] == [(2, True)]
    other.close()


def test_line_that_was_silent_for_long_goes_on_behind_a_break(
    tmp_path: Path, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serial_line, "SILENCE_S", 0.2)
    source = open_serial(tmp_path, line.device)
    with running(source, lambda: line.say(b"\n1,2\n")) as chunks:
        next(chunks)
        time.sleep(0.5)
        line.say(b"3,4\n")
        assert next(chunks).restart
        line.say(b"5,6\n")
        assert not next(chunks).restart


def test_silent_line_is_left_promptly(tmp_path: Path, line: Line) -> None:
    end = time.monotonic() + 0.3
    stop = Stop(lambda: time.monotonic() > end)
    assert list(open_serial(tmp_path, line.device).chunks(stop)) == []
    assert time.monotonic() - end < 1.0


def test_line_that_is_not_there_fails_when_it_is_asked_for_samples(tmp_path: Path) -> None:
    source = open_serial(tmp_path, "/dev/ttyNONE7")
    with pytest.raises(SourceFailed, match="/dev/ttyNONE7"), running(source) as chunks:
        next(chunks)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EACCES, "permission denied: add the user to the group dialout"),
        (errno.ENOENT, "no such device; is it connected?"),
        (errno.ENXIO, "no such device; is it connected?"),
        (errno.EBUSY, "does another program have it open?"),
    ],
)
def test_line_that_cannot_be_opened_says_what_to_do(
    tmp_path: Path, line: Line, monkeypatch: pytest.MonkeyPatch, number: int, message: str
) -> None:
    source, opened = open_serial(tmp_path, line.device), os.open

    def refuse(path: Any, *arguments: Any, **named: Any) -> int:
        if path == line.device:
            raise OSError(number, os.strerror(number), path)
        return opened(path, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)  # below pyserial, which raises an error of its own
    with pytest.raises(SourceFailed) as failed, running(source) as chunks:
        next(chunks)
    assert str(failed.value).startswith(f"{line.device}: ")
    assert str(failed.value).endswith(message)


def test_library_that_is_missing_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(ConfigError) as refused:
        open_serial(tmp_path, "/dev/ttyUSB0")
    assert str(refused.value) == (
        f"{tmp_path}/edge.toml:7:1: source[0].kind: the Python module serial is not installed: "
        "pip install 'edgeward[serial]'"
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (CHANNELS + "columns = [1]\n", "columns: 1 columns, expected one for each of 2 channels"),
        (CHANNELS + 'sync = "a"\n', 'sync: "a", expected 1 to 8 bytes in hexadecimal'),
        ("channels = []\n", "channels: a list, expected a list of length >= 1"),
    ],
)
def test_table_that_is_wrong_is_refused_by_its_key(
    tmp_path: Path, table: str, message: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        open_serial(tmp_path, "/dev/ttyUSB0", table)
    assert message in str(refused.value)
