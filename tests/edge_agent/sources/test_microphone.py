"""A microphone, with a stream that calls back from a thread of its own as PortAudio does."""

import sys
import threading
import time
import wave
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edge_agent.fit import StreamShape
from edge_agent.sources import microphone
from edge_agent.sources.microphone import Intake
from edge_agent.sources.source import Source, SourceFailed
from edge_bundle.errors import ConfigError
from edge_bundle.manifest import Channel
from edge_bundle.sound import read_sound
from tests.edge_agent.sources.given import Stop, open_table, running, take
from tests.edge_bundle.bundles import WAKE_WORD

RATE = 16000
MS = 1_000_000


class PortAudioError(Exception):
    """As in sounddevice."""


class Card:
    """A sound card: what it hears, and a stand-in for the module that reaches it."""

    def __init__(self, sound: npt.NDArray[np.int16]) -> None:
        self.sound = sound
        self.opened: dict[str, Any] = {}
        self.closed = 0
        self.pause_s = 0.001
        self.overflow_at = -1
        self.refuse = ""
        self.latency_s = 0.005
        self.stamped = True
        card = self

        class InputStream:
            def __init__(self, callback: Callable[..., None], **options: Any) -> None:
                if card.refuse:
                    raise PortAudioError(card.refuse)
                card.opened = options
                self._call = callback
                self._ending = threading.Event()
                self._thread = threading.Thread(target=self._run, daemon=True)

            def start(self) -> None:
                self._thread.start()

            def abort(self) -> None:
                self._ending.set()
                self._thread.join()

            def close(self) -> None:
                card.closed += 1

            def _run(self) -> None:
                size = card.opened["blocksize"]
                # One piece of memory for every call: who keeps it without a copy has noise.
                buffer = np.empty((size, card.sound.shape[1]), np.int16)
                for at in range(0, len(card.sound) - size + 1, size):
                    if self._ending.wait(card.pause_s):
                        return
                    buffer[:] = card.sound[at : at + size]
                    begin = 100 + at / RATE
                    times = SimpleNamespace(
                        inputBufferAdcTime=begin if card.stamped else 0.0,
                        currentTime=begin + size / RATE + card.latency_s,
                    )
                    lost = SimpleNamespace(input_overflow=at // size == card.overflow_at)
                    self._call(buffer, size, times, lost)
                    buffer[:] = -1

        self.module = SimpleNamespace(
            InputStream=InputStream,
            PortAudioError=PortAudioError,
            query_devices=lambda: [
                {"name": "HDMI", "max_input_channels": 0},
                {"name": "USB mic", "max_input_channels": 1},
            ],
        )


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    ramp = np.arange(RATE, dtype=np.int16).reshape(-1, 1)
    made = Card(ramp)
    monkeypatch.setitem(sys.modules, "sounddevice", made.module)
    return made


def open_microphone(folder: Path, table: str = "") -> Source:
    return open_table(folder, f'kind = "microphone"\nrate_hz = {RATE}.0\n{table}')


def test_sound_arrives_whole_between_minus_one_and_one(tmp_path: Path, card: Card) -> None:
    source = open_microphone(tmp_path)
    assert source.shape == StreamShape(RATE, (Channel("sound", "1"),))
    with running(source) as chunks:
        got = take(chunks, RATE)
    samples = np.concatenate([c.samples for c in got])
    assert samples.dtype == np.float32
    assert samples[:, 0].tolist() == (np.arange(RATE) / 32768).tolist()
    assert [c.lost for c in got] == [0] * len(got)
    assert card.opened == {
        "device": None,
        "samplerate": RATE,
        "blocksize": RATE // 50,
        "channels": 1,
        "dtype": "int16",
    }
    assert card.closed == 1


@pytest.mark.parametrize("block_ms", [10, 32, 100])
def test_recording_that_is_played_to_it_arrives_as_replay_reads_it(
    tmp_path: Path, card: Card, block_ms: int
) -> None:
    file = WAKE_WORD.with_suffix(".wav")
    with wave.open(str(file)) as clip:
        assert (clip.getframerate(), clip.getnchannels(), clip.getsampwidth()) == (RATE, 1, 2)
        codes = np.frombuffer(clip.readframes(clip.getnframes()), "<i2").reshape(-1, 1)
    block = RATE * block_ms // 1000
    whole = len(codes) // block * block
    card.sound = np.asarray(codes[:whole], np.int16)
    with running(open_microphone(tmp_path, f"block_ms = {block_ms}\n")) as chunks:
        got = take(chunks, whole)
    assert {len(c.samples) for c in got} == {block}
    assert [c.lost for c in got] == [0] * len(got)
    samples = np.concatenate([c.samples for c in got])
    assert samples.tobytes() == read_sound(file, "", {"1"}, None).samples[:whole].tobytes()


def test_codes_of_two_channels_stay_codes_where_the_channels_say_so(
    tmp_path: Path, card: Card
) -> None:
    card.sound = np.array([[-32768, 32767], [1, 2]] * 800, np.int16)
    table = (
        'channels = [{ name = "l", unit = "int16" }, { name = "r", unit = "int16" }]\n'
        'device = "USB"\nblock_ms = 100\n'
    )
    with running(open_microphone(tmp_path, table)) as chunks:
        samples = next(chunks).samples
    assert samples.tolist() == [[-32768, 32767], [1, 2]] * 800
    assert card.opened["device"] == "USB"


def test_unplugged_microphone_fails_and_comes_back_behind_a_break(
    tmp_path: Path, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(microphone, "SILENCE_S", 0.1)
    source = open_microphone(tmp_path)
    card.sound = card.sound[:320]
    with running(source) as chunks:
        assert not next(chunks).restart
        with pytest.raises(SourceFailed, match=r"default microphone: no sound for 0\.1 s"):
            next(chunks)
    assert card.closed == 1
    with running(source) as chunks:
        assert next(chunks).restart


def test_silent_microphone_is_left_promptly(tmp_path: Path, card: Card) -> None:
    card.pause_s = 60
    end = time.monotonic() + 0.3
    stop = Stop(lambda: time.monotonic() > end)
    assert list(open_microphone(tmp_path).chunks(stop)) == []
    assert time.monotonic() - end < 1.0
    assert card.closed == 1


# --- times and losses, as the card tells of them


def push(
    intake: Intake, begin_s: float, now_s: float, overflow: bool = False, code: int = 0
) -> None:
    times = SimpleNamespace(inputBufferAdcTime=begin_s, currentTime=now_s)
    block = np.full((160, 1), code, np.int16)
    intake.take_in(block, 160, times, SimpleNamespace(input_overflow=overflow))
    block[:] = -1  # PortAudio's memory, used again


def test_sound_that_is_not_taken_in_time_is_counted_where_it_is_missing() -> None:
    intake = Intake(RATE, 3 * 160)
    for i in range(7):
        push(intake, 1 + i / 100, 1 + i / 100, code=i)
    assert [(int(b[0, 0]), len(b), lost) for b, _, lost in intake.take_out()] == [
        (0, 160, 0),
        (1, 160, 0),
        (2, 160, 0),
    ]
    push(intake, 1.07, 1.07, code=7)
    assert [(int(b[0, 0]), lost) for b, _, lost in intake.take_out()] == [(7, 4 * 160)]
    assert intake.take_out() == []
    assert not intake.came.is_set()


def test_queue_holds_one_block_however_short_it_is(tmp_path: Path, card: Card) -> None:
    card.pause_s = 0.02
    with running(open_microphone(tmp_path, "block_ms = 100\nqueue_s = 0.01\n")) as chunks:
        assert len(next(chunks).samples) == RATE // 10


def test_time_is_that_of_the_last_sample_where_the_card_says_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "monotonic_ns", lambda: 1000 * MS)
    intake = Intake(RATE, RATE)
    push(intake, 7.0, 7.025)
    push(intake, 0.0, 7.035)
    assert [end_ns for _, end_ns, _ in intake.take_out()] == [985 * MS, 1000 * MS]


def test_what_portaudio_lost_is_counted_by_the_cards_clock_or_as_one() -> None:
    intake = Intake(RATE, RATE)
    push(intake, 7.0, 7.01)
    push(intake, 7.03, 7.04, overflow=True)
    push(intake, 0.0, 7.05, overflow=True)
    assert [lost for _, _, lost in intake.take_out()] == [0, 320, 1]


def test_nothing_is_reckoned_from_a_block_whose_time_the_card_did_not_say() -> None:
    intake = Intake(RATE, RATE)
    push(intake, 0.0, 7.0)
    push(intake, 7.03, 7.04, overflow=True)
    assert [lost for _, _, lost in intake.take_out()] == [0, 1]


# --- what is not there


def test_input_that_is_not_there_is_named_with_those_that_are(tmp_path: Path, card: Card) -> None:
    card.refuse = "Invalid sample rate [PaErrorCode -9997]"
    source = open_microphone(tmp_path, 'device = "Line"\n')
    with pytest.raises(SourceFailed) as failed, running(source) as chunks:
        next(chunks)
    assert str(failed.value) == (
        "microphone 'Line': Invalid sample rate [PaErrorCode -9997]; inputs there: 1: USB mic"
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            'raise OSError("PortAudio library not found")',
            "sounddevice: PortAudio library not found: sudo apt install libportaudio2",
        ),
        (
            "import a_module_that_is_not_there",
            "'a_module_that_is_not_there': pip install 'edgeward[microphone]'",
        ),
    ],
)
def test_library_that_does_not_import_is_named_with_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, message: str
) -> None:
    (tmp_path / "sounddevice.py").write_text(f"{body}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    with pytest.raises(ConfigError) as refused:
        open_microphone(tmp_path)
    assert "source[0].kind: " in str(refused.value)
    assert str(refused.value).endswith(message)


def test_unit_that_sound_has_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unit 'Pa', expected one of 1, int16, for m"):
        open_microphone(tmp_path, 'channels = [{ name = "m", unit = "Pa" }]\n')
