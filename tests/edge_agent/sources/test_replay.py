"""A recording comes at its true rate times a factor, whole and in order."""

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace as change

from edge_agent.config import load_config
from edge_agent.fit import StreamShape
from edge_agent.ring import Chunk
from edge_agent.sources.opening import open_source
from edge_agent.sources.replay import TICK_S, Replay
from edge_agent.sources.source import Source
from edge_bundle.errors import ConfigError, RecordingRefused
from edge_bundle.manifest import Channel
from edge_bundle.recording import Recording
from edge_bundle.timing import Break, Timing
from tests.edge_bundle.bundles import CHANNELS, RECORDING
from tests.edge_bundle.test_wav import make_wav


def recording(first: int, count: int) -> Recording:
    samples = np.arange(first, first + count, dtype=np.float32).reshape(-1, 1)
    return Recording("r", samples, ("a",), 1000.0, np.full(count, -1), ())


def replay(factor: float, loop: bool, *recordings: Recording, rate_hz: float = 1000.0) -> Replay:
    return Replay(list(recordings), StreamShape(rate_hz, (Channel("a", "g"),)), factor, loop)


class Time:
    """Monotonic time that passes only while somebody waits; optionally much longer than asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, slow: float = 1.0) -> None:
        self.now_ns = 7_000_000_000
        self.waits: list[float] = []
        self.stop_after = 1 << 30
        self._slow = slow
        monkeypatch.setattr(time, "monotonic_ns", lambda: self.now_ns)

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now_ns += int(seconds * self._slow * 1e9)
        return len(self.waits) > self.stop_after


def values(chunks: list[Chunk]) -> list[float]:
    return [float(v) for c in chunks for v in c.samples[:, 0]]


def test_samples_come_when_they_are_due_with_their_times(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Time(monkeypatch)
    began_ns, given = world.now_ns, 0
    for chunk in replay(2.0, False, recording(0, 1000)).chunks(world.wait):
        given += len(chunk.samples)
        assert chunk.end_ns == began_ns + given * 500_000
        assert 0 <= world.now_ns - chunk.end_ns < 500_000
    assert given == 1000
    assert (world.now_ns - began_ns) / 1e9 == pytest.approx(0.5, abs=TICK_S)
    assert min(world.waits) >= TICK_S


@pytest.mark.parametrize(
    ("rate_hz", "together"),
    [(1.0, 1), (50.0, 1), (100.0, 1), (104.0, 1), (199.0, 1), (200.0, 2), (1000.0, 10)],
)
def test_sample_comes_when_it_is_due_unless_many_come_in_a_tick(
    monkeypatch: pytest.MonkeyPatch, rate_hz: float, together: int
) -> None:
    world = Time(monkeypatch)
    source = replay(1.0, False, recording(0, 40 * together), rate_hz=rate_hz)
    late_ns, counts = [], []
    for chunk in source.chunks(world.wait):
        late_ns.append(world.now_ns - chunk.end_ns)
        counts.append(len(chunk.samples))
    assert set(counts) == {together}
    assert max(late_ns) < 1000
    assert min(world.waits[::2]) > TICK_S / 2


def test_source_that_wakes_late_is_not_late_for_the_next_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = Time(monkeypatch)
    oversleep_ns = 300_000

    def wait(seconds: float) -> bool:
        world.now_ns += int(seconds * 1e9) + oversleep_ns
        return False

    source = replay(1.0, False, recording(0, 50), rate_hz=100.0)
    late_ns = [world.now_ns - chunk.end_ns for chunk in source.chunks(wait)]
    assert len(late_ns) == 50
    assert max(late_ns) == pytest.approx(oversleep_ns, abs=1000)


def test_break_stands_between_two_recordings_and_not_before_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = Time(monkeypatch)
    chunks = list(replay(1.0, False, recording(0, 50), recording(50, 70)).chunks(world.wait))
    assert values(chunks) == list(range(120))
    assert [c.samples[0, 0] for c in chunks if c.restart] == [50]


def test_loop_begins_again_with_a_break_until_it_is_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = Time(monkeypatch)
    world.stop_after = 20
    chunks = list(replay(1.0, True, recording(0, 30)).chunks(world.wait))
    assert values(chunks) == [float(n % 30) for n in range(len(values(chunks)))]
    assert [c.samples[0, 0] for c in chunks if c.restart] == [0] * (len(values(chunks)) // 30)
    assert len(world.waits) == 21


def test_source_that_was_held_up_catches_up_without_losing_a_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = Time(monkeypatch, slow=40)
    chunks = list(replay(1.0, False, recording(0, 5000)).chunks(world.wait))
    assert values(chunks) == list(range(5000))


def test_stop_ends_a_replay_at_its_next_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Time(monkeypatch)
    world.stop_after = 0
    assert list(replay(1.0, False, recording(0, 50)).chunks(world.wait)) == []


def test_missing_samples_take_their_time_and_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, timing = Time(monkeypatch), Timing(1000.0, (Break(300, 200, 0.201),))
    one = change(recording(0, 500), timing=timing)
    source = replay(1.0, False, one)
    chunks = list(source.chunks(world.wait))
    assert values(chunks) == list(range(500))
    (after,) = [c for c in chunks if c.restart]
    assert (after.samples[0, 0], after.lost) == (300, 200)
    assert chunks[-1].end_ns - 7_000_000_000 == pytest.approx(700_000_000, abs=10)
    assert source.problems() == "1 gaps with 200 samples lost"


def test_clock_that_was_set_back_is_a_break_and_time_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, timing = Time(monkeypatch), Timing(1000.0, (Break(300, 0, 0.0),), 2, 1, 4)
    source = replay(1.0, False, change(recording(0, 500), timing=timing))
    chunks = list(source.chunks(world.wait))
    assert values(chunks) == list(range(500))
    assert [(c.samples[0, 0], c.lost) for c in chunks if c.restart] == [(300, 0)]
    ends = [c.end_ns for c in chunks]
    assert ends == sorted(ends)
    assert ends[-1] - 7_000_000_000 == pytest.approx(500_000_000, abs=10)
    assert source.problems() == (
        "1 times the clock was set back; 2 time stamps written twice; "
        "4 bursts that came late, with nothing lost"
    )


def test_replay_as_fast_as_it_is_taken_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Time(monkeypatch)
    source = replay(math.inf, False, recording(0, 1000), recording(1000, 70))
    chunks = list(source.chunks(world.wait))
    assert values(chunks) == list(range(1070))
    assert [c.samples[0, 0] for c in chunks if c.restart] == [1000]
    assert world.waits == []
    assert {c.end_ns for c in chunks} == {world.now_ns}


# --- opened from a configuration


def open_one(folder: Path, table: str, kind: str | None = "replay") -> Source:
    config = folder / "edge.toml"
    head = f'kind = "{kind}"\n' if kind else ""
    config.write_text(
        f'[device]\nid = "d1"\n[store]\npath = "s"\n[[source]]\nname = "a"\n{head}{table}'
    )
    return open_source(load_config(config), 0)


def npz(file: Path, **arrays: Any) -> None:
    given: dict[str, Any] = {"values": np.zeros((9, 2)), "channels": ["x", "y"], "rate_hz": 50.0}
    np.savez(file, **{k: v for k, v in (given | arrays).items() if v is not None})


def wav(folder: Path, channels: int = 2) -> None:
    codes = np.arange(channels * 8, dtype="<i2").reshape(8, channels) * 1024
    (folder / "r.wav").write_bytes(make_wav(codes.tobytes(), channels, 16000, 16))


def first_row(source: Source) -> list[float]:
    row: list[float] = next(source.chunks(lambda _s: False)).samples[0].tolist()
    return row


MAX = 'path = "r.wav"\nfactor = "max"\n'


@pytest.mark.parametrize(
    ("table", "names", "row"),
    [
        ("", ["sound0", "sound1"], [0, 1 / 32]),
        ("channel = 1", ["sound"], [1 / 32]),
        ('channel = "mean"', ["sound"], [1 / 64]),
        ('channel = 1\nchannels = [{name = "mic", unit = "int16"}]', ["mic"], [1024]),
    ],
)
def test_sound_is_a_source_in_the_unit_of_its_channels(
    tmp_path: Path, table: str, names: list[str], row: list[float]
) -> None:
    wav(tmp_path)
    source = open_one(tmp_path, f"{MAX}{table}\n")
    assert [c.name for c in source.shape.channels] == names
    assert {c.unit for c in source.shape.channels} <= {"1", "int16"}
    assert source.shape.rate_hz == 16000
    assert first_row(source) == row


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("channel = 2", "path: {folder}/r.wav: channel 2: the file has 0 to 1"),
        ('channel = "left"', "channel: "),
        ('channels = [{name = "mic", unit = "Pa"}]', "channels: units Pa: a .wav gives 1 (full"),
        (
            'channels = [{name = "mic", unit = "1"}]',
            "edge.toml:10:1: source[0].channels: mic: {folder}/r.wav has 2 channels; name 2; of a",
        ),
        (
            "rate_hz = 8000",
            "leave rate_hz out; where a model wants another rate resample the file, or say",
        ),
        ('policy = "drop_oldest"', 'policy: \'drop_oldest\': factor = "max" needs "block"'),
    ],
)
def test_sound_that_the_configuration_describes_wrongly_is_named_by_its_key(
    tmp_path: Path, table: str, message: str
) -> None:
    wav(tmp_path)
    with pytest.raises(ConfigError) as refused:
        open_one(tmp_path, f"{MAX}{table}\n")
    assert message.format(folder=tmp_path) in str(refused.value)


@pytest.mark.parametrize("chosen", ["", "#1"])
def test_sound_is_known_where_its_name_has_a_number_sign(tmp_path: Path, chosen: str) -> None:
    wav(tmp_path)
    (tmp_path / "r.wav").rename(tmp_path / "take #2.wav")
    channel = "" if chosen else "channel = 1\n"
    table = (
        f'path = "take #2.wav{chosen}"\n{channel}channels = [{{name = "mic", unit = "int16"}}]\n'
    )
    assert first_row(open_one(tmp_path, table)) == [1024]


def test_channel_is_for_sound_alone(tmp_path: Path) -> None:
    npz(tmp_path / "r.npz")
    with pytest.raises(ConfigError, match=r"channel: is for a \.wav alone"):
        open_one(tmp_path, 'path = "r.npz"\nchannel = 0\n')


def test_committed_recording_is_a_source(tmp_path: Path) -> None:
    source = open_one(tmp_path, f'path = "{RECORDING}#0-1"\nfactor = 1e9\n')
    assert source.shape == StreamShape(50.0, tuple(Channel(c, "") for c in CHANNELS))
    chunks = list(source.chunks(lambda _s: False))
    assert sum(len(c.samples) for c in chunks) == 1000
    assert sum(c.restart for c in chunks) == 1


@pytest.mark.parametrize("name", ["r.npz", "my #1/r.npz"])
def test_recording_is_found_beside_the_configuration(tmp_path: Path, name: str) -> None:
    (tmp_path / "my #1").mkdir()
    npz(tmp_path / name)
    assert open_one(tmp_path, f'path = "{name}"\n').shape.rate_hz == 50.0
    assert open_one(tmp_path, f'path = "{name}#0"\n').shape.rate_hz == 50.0


def test_configuration_says_what_the_recording_does_not(tmp_path: Path) -> None:
    npz(tmp_path / "r.npz", channels=None, rate_hz=None)
    table = (
        'path = "r.npz"\nrate_hz = 20.0\n'
        'channels = [{name = "p", unit = "g"}, {name = "q", unit = "g"}]\n'
    )
    shape = open_one(tmp_path, table).shape
    assert shape == StreamShape(20.0, (Channel("p", "g"), Channel("q", "g")))


TWO_OF_FOUR = 'channels = [{name = "z", unit = "g"}, {name = "x", unit = "g"}]\n'


@pytest.mark.parametrize("name", ["r.csv", "r.npz"])
def test_channels_choose_columns_by_name_in_their_order(tmp_path: Path, name: str) -> None:
    rows = [f"{n * 20},1,{n},3.7,2,walk" for n in range(9)]
    (tmp_path / "r.csv").write_text("\n".join(["time_ms,x,y,battery,z,label", *rows]))
    values = np.array([[1, n, 3.7, 2] for n in range(9)])
    npz(tmp_path / "r.npz", values=values, channels=["x", "y", "battery", "z"])
    source = open_one(tmp_path, f'path = "{name}"\nfactor = "max"\n{TWO_OF_FOUR}')
    assert source.shape == StreamShape(50.0, (Channel("z", "g"), Channel("x", "g")))
    assert first_row(source) == [2, 1]
    everything = open_one(tmp_path, f'path = "{name}"\n').shape.channels
    assert [c.name for c in everything] == ["x", "y", "battery", "z"]


def test_channel_that_no_column_is_called_is_told_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("time_ms,z,x_mg,battery\n0,1,2,3\n20,1,2,3\n")
    with pytest.raises(ConfigError) as refused:
        open_one(tmp_path, f'path = "r.csv"\n{TWO_OF_FOUR}'.replace('"x"', '"x_g"'))
    assert str(refused.value) == (
        f"{tmp_path}/edge.toml:9:1: source[0].channels: {tmp_path}/r.csv: no column 'x_g'; "
        "did you mean 'x_mg'? the header has time_ms, z, x_mg, battery"
    )


@pytest.mark.parametrize(
    ("table", "arrays", "message"),
    [
        ('path = "no.npz"\n', {}, "edge.toml:8:1: source[0].path: {folder}/no.npz: no such"),
        ('path = "r.npz#7"\n', {}, "edge.toml:8:1: source[0].path: {folder}/r.npz#7: '7': exp"),
        ('path = "r.npz"\n', {"rate_hz": None}, "edge.toml:5:1: source[0].rate_hz: r.npz does"),
        ('path = "r.npz"\n', {"channels": None}, "edge.toml:5:1: source[0].channels: r.npz does"),
        (
            'path = "r.npz"\nrate_hz = 60.0\n',
            {},
            "edge.toml:9:1: source[0].rate_hz: 60 Hz: {folder}/r.npz#0 has 50 Hz; leave",
        ),
        (
            'path = "r.npz"\nchannels = [{name = "y", unit = "g"}, {name = "X", unit = "g"}]\n',
            {},
            "edge.toml:9:1: source[0].channels: {folder}/r.npz: no channel 'X'; did you mean 'x'? ",
        ),
        (
            'path = "r.npz"\nchannels = [{name = "x", unit = "g"}]\n',
            {"channels": None},
            "edge.toml:9:1: source[0].channels: x: {folder}/r.npz#0 has 2 channels; name 2",
        ),
    ],
)
def test_source_that_the_configuration_describes_wrongly_is_named_by_its_key(
    tmp_path: Path, table: str, arrays: dict[str, Any], message: str
) -> None:
    npz(tmp_path / "r.npz", **arrays)
    with pytest.raises(ConfigError) as refused:
        open_one(tmp_path, table)
    assert str(refused.value).startswith(f"{tmp_path}/" + message.format(folder=tmp_path))


@pytest.mark.parametrize(
    ("table", "arrays", "message"),
    [
        ("", {"rate_hz": 0}, "r.npz: rate_hz: 0, expected a finite"),
        ("", {"rate_hz": np.nan}, "r.npz: rate_hz: nan, expected a finite"),
        ("rate_hz = 60.0", {"rate_hz": np.nan}, "r.npz: rate_hz: nan, expected a finite"),
        ("", {"values": np.zeros((0, 2)), "lengths": [0]}, "r.npz#0: no sample in it"),
        ("", {"values": np.zeros((9, 3))}, "r.npz#0: 3 channels, and names for 2: x, y"),
        ("", {"values": np.full((9, 2), np.nan)}, "sample 0, channel x: nan, expected a finite"),
    ],
)
def test_recording_that_is_no_source_is_refused(
    tmp_path: Path, table: str, arrays: dict[str, Any], message: str
) -> None:
    npz(tmp_path / "r.npz", **arrays)
    with pytest.raises(RecordingRefused) as refused:
        open_one(tmp_path, f'path = "r.npz"\n{table}\n')
    assert message in str(refused.value)
    assert str(refused.value).startswith(str(tmp_path))
