"""Steps against SciPy and librosa, which did not see each other's code or ours.

Tolerances are of float32: 1e-5 relative, and 1e-6 of the largest value where sums cancel.
"""

import librosa
import numpy as np
import numpy.typing as npt
import pytest
import scipy.fft
import scipy.ndimage
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st
from librosa.filters import mel as librosa_mel

from edge_bundle.features.chain import compile_steps
from edge_bundle.features.fourier import Taper, taper
from edge_bundle.features.mel import Formula
from edge_bundle.features.resampling import MAX_TERM
from edge_bundle.features.steps import (
    BandPower,
    Dct,
    Detrend,
    Form,
    Log,
    Mel,
    Mfcc,
    Mix,
    Peak,
    Resample,
    Resize,
    Scale,
    Spectrogram,
    Spectrum,
    Statistics,
    Step,
)
from edge_bundle.tensor import Array, Float32Array
from tests.edge_bundle.features.every_step import STATISTICS

seeds = st.integers(0, 2**32 - 1)


def draw(seed: int, rows: int, columns: int) -> Float32Array:
    random = np.random.default_rng(seed)
    values = random.normal(size=(rows, columns)) + random.normal(size=columns) * 5
    return np.asarray(values, np.float32)


def run(step: Step, values: Float32Array, rate_hz: float = 100.0) -> Float32Array:
    rows, columns = values.shape
    return compile_steps([step], Form(rows, columns, rate_hz)).run(values)


def assert_close(found: Array, expected: Array, relative: float = 1e-5) -> None:
    assert found.shape == expected.shape
    largest = float(np.abs(expected).max()) if expected.size else 0.0
    np.testing.assert_allclose(found, expected, rtol=relative, atol=1e-6 * largest)


@given(seeds, st.integers(2, 300), st.integers(1, 4), st.sampled_from(["constant", "linear"]))
def test_detrend(seed: int, rows: int, columns: int, trend: str) -> None:
    values = draw(seed, rows, columns)
    expected = scipy.signal.detrend(values.astype(np.float64), axis=0, type=trend)
    found = run(Detrend(trend=trend), values)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_detrend_keeps_small_signals_on_large_offsets() -> None:
    small = np.sin(np.arange(200) / 3)[:, None]
    values = np.asarray(1e4 + small, np.float32)
    found = run(Detrend(trend="constant"), values)
    # The step of float32 at 10,000 is 0.001.
    np.testing.assert_allclose(found, small - small.mean(), atol=6e-4)


@given(
    seeds,
    st.integers(1, 200),
    st.integers(1, 3),
    st.sampled_from([(50.0, 25.0), (104.4, 50.0), (16.0, 44.1), (25.0, 25.0), (100.0, 99.0)]),
    st.booleans(),
)
def test_resample(
    seed: int, rows: int, columns: int, rates: tuple[float, float], swapped: bool
) -> None:
    before, after = rates[::-1] if swapped else rates
    values = draw(seed, rows, columns)
    up, down = round(after * 10), round(before * 10)
    expected = scipy.signal.resample_poly(values.astype(np.float64), up, down, axis=0)
    assert_close(run(Resample(to_hz=after), values, before), expected)


@pytest.mark.parametrize("rows", [1, 2, 3, 50, 101])
def test_statistics(rows: int) -> None:
    values = draw(rows, rows, 3)
    values64 = values.astype(np.float64)
    below = values64 < 0
    expected = np.stack(
        [
            values64.mean(axis=0),
            values64.std(axis=0),
            np.sqrt((values64**2).mean(axis=0)),
            np.ptp(values64, axis=0),
            values64.min(axis=0),
            values64.max(axis=0),
            np.median(values64, axis=0),
            (below[1:] != below[:-1]).sum(axis=0),
            *np.percentile(values64, STATISTICS.percentiles, axis=0),
        ]
    )
    np.testing.assert_allclose(run(STATISTICS, values)[0], expected.T.reshape(-1), rtol=1e-6)


def test_zero_counts_as_not_below_zero() -> None:
    values = np.array([[1, 0, -1, -0.0, 0, 2, -3]], np.float32).T
    assert run(Statistics(of=("zero_crossings",)), values) == [[3]]


tapers: list[tuple[Taper, str, bool]] = [
    ("none", "boxcar", True),
    ("hann", "hann", True),
    ("hann_symmetric", "hann", False),
    ("hamming", "hamming", True),
    ("hamming_symmetric", "hamming", False),
]


@pytest.mark.parametrize("length", [1, 2, 31, 480])
@pytest.mark.parametrize(("kind", "name", "periodic"), tapers)
def test_taper(kind: Taper, name: str, periodic: bool, length: int) -> None:
    expected = scipy.signal.get_window(name, length, periodic)
    np.testing.assert_allclose(taper(kind, length), expected, atol=1e-15)


@given(seeds, st.integers(2, 300), st.integers(1, 3), st.sampled_from(["none", "hamming"]))
def test_spectrum(seed: int, rows: int, columns: int, window: Taper) -> None:
    values = draw(seed, rows, columns)
    tapered = values * taper(window, rows)[:, None]
    expected = np.abs(scipy.fft.rfft(tapered, axis=0))
    assert_close(run(Spectrum(window=window), values), expected)
    assert_close(run(Spectrum(of="power", window=window), values), expected**2)


@pytest.mark.parametrize("window", ["none", "hann"])
@pytest.mark.parametrize("rows", [256, 255, 200])
@pytest.mark.parametrize(
    "edges", [(0.0, 3.0, 12.5, 31.0, 50.0), (3.0, 12.5, 31.0), (12.5, 25.0)], ids=len
)
def test_band_power(rows: int, window: Taper, edges: tuple[float, ...]) -> None:
    values = draw(rows, rows, 2)
    expected = bands_of_periodogram(values.astype(np.float64), edges, window)
    found = run(BandPower(edges_hz=edges, window=window), values)
    assert_close(found, expected.T.reshape(1, -1))
    if window == "none" and edges[0] == 0:
        np.testing.assert_allclose(
            found.reshape(2, -1).sum(axis=1), (values**2).mean(axis=0), rtol=1e-5
        )


def bands_of_periodogram(
    values: npt.NDArray[np.float64], edges: tuple[float, ...], window: str
) -> npt.NDArray[np.float64]:
    taper_name = "boxcar" if window == "none" else window
    hz, density = scipy.signal.periodogram(
        values, 100.0, taper_name, detrend=False, scaling="density", axis=0
    )
    upper = [*edges[1:-1], np.nextafter(edges[-1], np.inf)]
    power = density * (hz[1] - hz[0])
    return np.stack(
        [power[(hz >= a) & (hz < b)].sum(axis=0) for a, b in zip(edges, upper, strict=False)]
    )


@pytest.mark.parametrize(
    "step",
    [
        Spectrogram(frame=64, step=16),
        Spectrogram(frame=50, step=70, fft=128, window="hamming", power=1),
        Spectrogram(frame=7, step=1, window="none"),
        Spectrogram(frame=300, step=5, window="hann_symmetric", power=1),
    ],
)
@pytest.mark.parametrize("columns", [1, 2])
def test_spectrogram(step: Spectrogram, columns: int) -> None:
    values = draw(step.frame, 300, columns)
    frames = np.lib.stride_tricks.sliding_window_view(values, step.frame, axis=0)[:: step.step]
    shaped = frames.astype(np.float64) * taper(step.window, step.frame)
    expected = np.abs(scipy.fft.rfft(shaped, step.length)) ** step.power
    assert_close(run(step, values), expected.reshape(len(frames), -1))


@pytest.mark.parametrize("formula", ["htk", "slaney"])
@pytest.mark.parametrize("norm", ["none", "slaney"])
@pytest.mark.parametrize(
    ("rate_hz", "fft", "bands", "low_hz", "high_hz"),
    [
        (16000, 512, 40, 20.0, 4000.0),
        (22050, 2048, 128, 0.0, None),
        (16000, 401, 26, 60.0, 7600.0),
        (22050, 551, 26, 0.0, None),
    ],
)
def test_mel(
    formula: Formula,
    norm: str,
    rate_hz: int,
    fft: int,
    bands: int,
    low_hz: float,
    high_hz: float | None,
) -> None:
    expected = librosa_mel(
        sr=rate_hz,
        n_fft=fft,
        n_mels=bands,
        fmin=low_hz,
        fmax=high_hz,
        htk=formula == "htk",
        norm=None if norm == "none" else norm,
        dtype=np.float64,
    )
    bins = fft // 2 + 1
    form = Form(bins, bins, 100.0, bins, rate_hz * (bins - 1) / fft, rate_hz / 2)
    step = Mel(bands, low_hz, high_hz, formula, norm)  # type: ignore[arg-type]
    found = compile_steps([step], form).run(np.eye(bins, dtype=np.float32))
    assert_close(found, expected.T)


def test_mel_with_slopes_straight_in_mel() -> None:
    def to_mel(hz: float) -> float:
        return 1127 * float(np.log1p(hz / 700))

    step = Mel(10, 100.0, 3000.0, slopes="mel")
    found = compile_steps([step], Form(129, 129, 100.0, 129, 4000.0, 4000.0)).run(
        np.eye(129, dtype=np.float32)
    )
    spacing = (to_mel(3000) - to_mel(100)) / 11
    for number in range(129):
        at = (to_mel(number * 4000 / 128) - to_mel(100)) / spacing
        expected = [max(0.0, 1 - abs(at - band - 1)) for band in range(10)]
        np.testing.assert_allclose(found[number], expected, atol=1e-5)


@given(seeds, st.integers(1, 64), st.sampled_from(["ortho", "none"]), st.data())
def test_dct(seed: int, columns: int, norm: str, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, columns))
    values = draw(seed, 5, columns)
    scipy_norm = "ortho" if norm == "ortho" else None
    expected = 0.5 * scipy.fft.dct(values.astype(np.float64), norm=scipy_norm)[:, :count]
    found = run(Dct(count, norm, 0.5), values)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_mfcc_is_librosas() -> None:
    sound = np.random.default_rng(5).normal(size=16000).astype(np.float32)
    mel = librosa.feature.melspectrogram(
        y=sound, sr=16000, n_fft=400, hop_length=160, n_mels=40, center=False
    )
    decibels = librosa.power_to_db(mel, top_db=None)
    expected = librosa.feature.mfcc(S=decibels, n_mfcc=13).T
    step = Mfcc(
        frame=400,
        step=160,
        bands=40,
        formula="slaney",
        mel_norm="slaney",
        floor=1e-10,
        base=10,
        log_factor=10.0,
        count=13,
    )
    np.testing.assert_allclose(run(step, sound[:, None], 16000.0), expected, rtol=1e-5, atol=1e-4)


@given(seeds, st.tuples(*[st.integers(2, 24)] * 4), st.integers(1, 3))
def test_resize_between_pixels(seed: int, sizes: tuple[int, ...], colours: int) -> None:
    height, width, to_height, to_width = sizes
    image = draw(seed, height * width, colours)
    zoom = (to_height / height, to_width / width, 1)
    expected = scipy.ndimage.zoom(
        image.reshape(height, width, colours).astype(np.float64),
        zoom,
        order=1,
        mode="nearest",
        grid_mode=True,
    )
    found = run(Resize(height, width, to_height, to_width), image)
    assert_close(found, expected.reshape(-1, colours))


@given(seeds, st.tuples(*[st.integers(1, 24)] * 4))
def test_resize_to_the_nearest_pixel(seed: int, sizes: tuple[int, ...]) -> None:
    height, width, to_height, to_width = sizes
    image = draw(seed, height * width, 2)
    lines = [(2 * y + 1) * height // (2 * to_height) for y in range(to_height)]
    columns = [(2 * x + 1) * width // (2 * to_width) for x in range(to_width)]
    expected = image.reshape(height, width, 2)[lines][:, columns].reshape(-1, 2)
    found = run(Resize(height, width, to_height, to_width, "nearest"), image)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Scale(2.0, 1.0), [[3, -7], [5, 3]]),
        (Scale((2.0, 3.0), (0.0, 1.0)), [[2, -11], [4, 4]]),
        (Peak(), [[0.25, -1], [0.5, 0.25]]),
        (Peak(of="value"), [[0.5, -2], [1, 0.5]]),
        (Log(offset=5.0, factor=2.0), [[2 * np.log(6), 0], [2 * np.log(7), 2 * np.log(6)]]),
        (Log(offset=6.0, base=2), [[np.log2(7), 1], [3, np.log2(7)]]),
        (Log(floor=1.0, base=10, factor=20.0), [[0, 0], [20 * np.log10(2), 0]]),
        (Log(floor=0.5), [[0, np.log(0.5)], [np.log(2), 0]]),
    ],
)
def test_values(step: Step, expected: list[list[float]]) -> None:
    values = np.array([[1, -4], [2, 1]], np.float32)
    np.testing.assert_allclose(run(step, values), expected, rtol=1e-6)


@pytest.mark.parametrize("of", ["magnitude", "value"])
def test_quiet_window_is_made_as_loud_as_a_loud_one(of: str) -> None:
    quiet = np.array([[1e-3, -5e-4]], np.float32)
    found = run(Peak(of=of), quiet)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, [[1, -0.5]], rtol=1e-6)


def test_logarithm_of_one_more() -> None:
    values = np.array([[0, 1, 1e3]], np.float32)
    np.testing.assert_allclose(run(Log(offset=1.0), values), np.log1p(values), rtol=1e-6)


@pytest.mark.parametrize("of", ["magnitude", "value"])
def test_silence_has_no_peak_and_stays(of: str) -> None:
    silence = np.zeros((4, 1), np.float32)
    assert not run(Peak(of=of), silence).any()  # type: ignore[arg-type]


def test_ratio_of_rates_is_that_of_their_decimals() -> None:
    assert Resample(to_hz=50.0).ratio(Form(9, 1, 104.4)) == pytest.approx(50 / 104.4, rel=1e-15)
    assert Resample(to_hz=50.0).ratio(Form(9, 1, 104.4)).denominator == 261 < MAX_TERM


@given(seeds, st.integers(1, 50), st.integers(1, 6), st.integers(1, 6))
def test_mix_is_a_weighted_sum_of_the_channels(seed: int, rows: int, old: int, new: int) -> None:
    values, weights = draw(seed, rows, old), draw(seed + 1, new, old)
    found = run(Mix(tuple(map(tuple, weights.tolist()))), values)
    expected = np.einsum("nc,rc->rn", weights.astype(np.float64), values.astype(np.float64))
    largest = float(np.abs(weights).max() * np.abs(values).max())
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * largest)
