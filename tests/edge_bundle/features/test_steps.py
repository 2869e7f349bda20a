"""A step that cannot be is refused before a sample comes, by its number and key."""

import json
from pathlib import Path

import msgspec
import pytest

from convert.given.spec import read_spec
from edge_bundle.document import decode, encode
from edge_bundle.errors import BundleRefused, ConfigError
from edge_bundle.features.chain import RUNNERS, compile_steps
from edge_bundle.features.form import MAX_VALUES
from edge_bundle.features.steps import (
    MAX_STEPS,
    BandPower,
    Composite,
    Dct,
    Detrend,
    Form,
    Log,
    LogMel,
    Mel,
    Mfcc,
    MicroFrontend,
    Mix,
    Peak,
    Resample,
    Resize,
    Scale,
    Single,
    Spectrogram,
    Spectrum,
    Standardise,
    Statistics,
    Step,
    Transpose,
    form_after,
)
from tests.edge_bundle.bundles import EXAMPLES, watch_manifest
from tests.edge_bundle.features.every_step import AUDIO, CHAINS, IMU, LOG_MEL, SPECTROGRAM

SPEECH = Form(16000, 1, 16000.0)


def test_every_step_has_a_runner_and_is_tried() -> None:
    assert set(RUNNERS) == set(Single.__args__)
    tried = {type(step) for _, steps in CHAINS.values() for step in steps}
    assert tried == {*Single.__args__, *Composite.__args__}


@pytest.mark.parametrize(
    ("form", "steps", "after"),
    [
        (SPEECH, [Spectrogram(480, 320, 512)], Form(49, 257, 50.0, 257, 8000.0, 8000.0)),
        (SPEECH, [Mfcc(480, 320, 512, count=10)], Form(49, 10, 50.0, 10)),
        (SPEECH, [MicroFrontend()], Form(98, 40, 100.0, 40)),
        (SPEECH, [MicroFrontend(step_ms=20)], Form(49, 40, 50.0, 40)),
        (SPEECH, [Resample(8000.0), LogMel(200, 80)], Form(98, 40, 100.0, 40)),
        (IMU, [Resample(104.0)], Form(208, 3, 104.0)),
        (IMU, [Detrend(), Spectrum()], Form(51, 3, 0.0)),
        (IMU, [BandPower((0.0, 5.0, 25.0))], Form(1, 6, 0.0, 2)),
        (IMU, [Statistics(("rms", "max"), (50.0,))], Form(1, 9, 0.0, 3)),
        (IMU, [Spectrogram(50, 25), Mel(8), Dct(4)], Form(3, 12, 2.0, 4)),
        (IMU, [Transpose()], Form(3, 100, 0.0)),
        (IMU, [Mix(((0.3, 0.6, 0.1),)), Detrend()], Form(100, 1, 50.0)),
        (Form(9216, 3, 5.0), [Resize(96, 96, 32, 48), Transpose()], Form(3, 1536, 0.0)),
    ],
)
def test_what_a_step_gives_is_known_without_a_sample(
    form: Form, steps: list[Step], after: Form
) -> None:
    assert form_after(steps, form) == after


refusals: list[tuple[Form, Step, str]] = [
    (IMU, Resize(9, 9, 3, 3), "features[1].height: 9 x 9 pixels are 81 rows, 100 come to it"),
    (
        IMU,
        Resize(1, 100, 16384, 1),
        "features[1].to_height: 16384 lines of 100 pixels are too many",
    ),
    (IMU, Scale((1.0, 2.0)), "features[1].factor: 2 numbers for 3 columns"),
    (IMU, Log(floor=1e-60), "features[1].floor: 1e-60, expected 1.2e-38 or more"),
    (
        IMU,
        Standardise((0.0,) * 3, (1.0, 1.0, 1e-60)),
        "features[1].std: 1e-60, expected 1.2e-38 or more",
    ),
    (IMU, Scale(offset=(1.0,)), "features[1].offset: 1 numbers for 3 columns"),
    (
        IMU,
        Resample(49.999),
        "features[1].to_hz: 50 to 49.999 Hz is 49999/50000, of terms to 1000 at most",
    ),
    (
        IMU,
        Spectrogram(101, 10),
        "features[1]: a frame needs 101 rows or more, 100 come to it",
    ),
    (IMU, Spectrogram(64, 10, 63), "features[1].fft: 63, expected 64 or more, the frame"),
    (IMU, Mel(20), "features[1]: mel bands need spectra: a spectrogram before them"),
    (IMU, Dct(4), "features[1].count: 4, at most 3 come of 3 values"),
    (IMU, Statistics(), "features[1].of: none, and no percentiles"),
    (IMU, Statistics(("std", "std")), "features[1].of: one of them stands there twice"),
    (
        IMU,
        BandPower((1.0, 26.0)),
        "features[1].edges_hz: 26 Hz is above half the rate, 25 Hz",
    ),
    (
        IMU,
        BandPower((1.0, 5.0, 26.0)),
        "features[1].edges_hz: 26 Hz is above half the rate, 25 Hz",
    ),
    (
        IMU,
        BandPower((1.0, 1.2, 1.3, 2.0)),
        "features[1].edges_hz: no frequency from 1.2 to 1.3 Hz; a window of 100 rows has one each",
    ),
    (
        IMU,
        BandPower((5.0, 1.0)),
        "features[1].edges_hz: no frequency from 5 to 1 Hz; a window of 100 rows has one each 0.5",
    ),
    (
        Form(2, 1, 50.0),
        BandPower((0.0, 25.0), window="hann_symmetric"),
        "features[1]: a band of frequencies needs 3 rows or more, 2 come to it",
    ),
    (IMU, Mix(((1.0, 0.0),)), "features[1].weights: 2 numbers for 3 channels"),
    (IMU, MicroFrontend(), "features[1]: the audio front end needs 480 rows or more, 100 come"),
    (
        Form(800, 2, 16000.0),
        MicroFrontend(),
        "features[1]: one channel is expected, 2 come to it",
    ),
    (
        Form(800, 1, 44100.0),
        MicroFrontend(),
        "features[1]: 16000 Hz are expected, 44100 come to it; resample before",
    ),
    (
        AUDIO,
        LogMel(400, 160, high_hz=9000.0),
        "features[1].high_hz: 9000, the spectrum ends at 8000 Hz",
    ),
    (
        AUDIO,
        LogMel(400, 160, high_hz=8010.0),
        "features[1].high_hz: 8010, the spectrum ends at 8000 Hz",
    ),
    (
        AUDIO,
        Mfcc(400, 160, low_hz=900.0, high_hz=800.0),
        "features[1].low_hz: 900, expected less than 800, high_hz",
    ),
    (AUDIO, Mfcc(400, 160, bands=9), "features[1].count: 13, at most 9 come of 9 values"),
]


@pytest.mark.parametrize(("form", "step", "message"), refusals)
def test_step_that_does_not_fit_says_where_and_why(form: Form, step: Step, message: str) -> None:
    with pytest.raises(ValueError, match=r"^features") as refused:
        compile_steps([Scale(), step], form)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    "step",
    [
        Detrend(),
        Resample(10.0),
        Spectrum(),
        SPECTROGRAM,
        Statistics(("mean",)),
        BandPower((0.0, 1.0)),
        MicroFrontend(),
    ],
)
@pytest.mark.parametrize("before", [Transpose(), LogMel(400, 160)])
def test_what_needs_samples_comes_before_what_takes_them(before: Step, step: Step) -> None:
    with pytest.raises(ValueError, match=r"^features\[1\]: .* in the order of time; put it before"):
        form_after([before, step], AUDIO)


def test_channels_are_mixed_before_something_else_is_made_of_them() -> None:
    with pytest.raises(ValueError, match=r"^features\[1\]: a column for each channel is expected"):
        form_after([LOG_MEL, Mix(((1.0,) * 20,))], AUDIO)


@pytest.mark.parametrize(
    ("form", "step"),
    [
        (Form(1 << 16, 1, 16000.0), Spectrogram(1, 1, 1 << 15)),
        (Form(1 << 20, 1, 1.0), Resample(1000.0)),
        (Form(1000, 1000, 1.0), Resample(0.001)),
        (Form(MAX_VALUES + 1, 1, 1.0), Scale()),
        (Form(1 << 21, 4, 1.0), Statistics(("mean",))),
    ],
)
def test_more_values_than_a_device_holds_are_refused(form: Form, step: Step) -> None:
    with pytest.raises(ValueError, match=rf"^features\[0\]: .* at most {MAX_VALUES} may"):
        form_after([step], form)


def test_more_values_in_all_than_a_device_holds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^features\[4\]: 20971520 values with it, at most"):
        form_after([Scale()] * 5, Form(MAX_VALUES, 1, 1.0))


def test_more_steps_than_anybody_needs_are_refused() -> None:
    form_after([Scale()] * MAX_STEPS, IMU)
    with pytest.raises(ValueError, match=r"^features\[32\]: 33 steps, at most 32$"):
        form_after([Scale()] * (MAX_STEPS + 1), IMU)


@pytest.mark.parametrize("name", sorted(CHAINS))
def test_steps_come_back_from_the_manifest_as_they_were(name: str) -> None:
    _, steps = CHAINS[name]
    text = msgspec.json.encode(steps)
    assert msgspec.json.decode(text, type=tuple[Step, ...]) == steps


def test_manifest_names_the_key_that_is_wrong() -> None:
    document = json.loads(encode(watch_manifest()))
    for steps, message in (
        ([{"kind": "mfcc", "frame": 0, "step": 8}], "features[0].frame: "),
        ([{"kind": "log_mel", "frame": 8}], "features[0]: "),
        ([{"kind": "scale"}, {"kind": "dct", "count": 7}], "features[1].count: "),
    ):
        document["features"] = steps
        with pytest.raises(BundleRefused) as refused:
            decode(json.dumps(document).encode())
        assert str(refused.value).startswith(f"manifest.json: {message}")


SPEC = (EXAMPLES / "watch" / "stream.toml").read_text()


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ('kind = "mffc"', "features[0].kind: no value 'mffc'; did you mean 'mfcc'?"),
        (
            'kind = "mfcc"\nframe = 32\nstep = 16\nband = 9',
            "features[0].band: unknown key; did you mean 'bands'?",
        ),
        ('kind = "mfcc"\nframe = 32', "features[0].step: is missing, and has no default"),
        ('kind = "mfcc"\nframe = 320\nstep = 16', "features[0]: a frame needs 320 rows or more"),
        (
            'kind = "log_mel"\nframe = 32\nstep = 16\nbands = 6\nhigh_hz = 30.0',
            "features[0].high_hz: 30, the spectrum ends at 25 Hz",
        ),
        (
            'kind = "spectrogram"\nframe = 32\nstep = 16\nwindow = "han"',
            "features[0].window: no value 'han'; did you mean 'hann'?",
        ),
    ],
)
def test_spec_names_the_key_that_is_wrong(tmp_path: Path, step: str, message: str) -> None:
    file = tmp_path / "s.toml"
    file.write_text(SPEC.replace("[decision]", f"[[features]]\n{step}\n\n[decision]"))
    with pytest.raises(ConfigError) as refused:
        read_spec(file)
    assert f": {message}" in str(refused.value)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ('kind = "scale"', Scale(1.0, 0.0)),
        ('kind = "peak"', Peak("magnitude")),
        ('kind = "detrend"', Detrend("linear")),
        ('kind = "statistics"\nof = ["rms"]', Statistics(("rms",), ())),
        ('kind = "spectrum"', Spectrum("magnitude", "none")),
        ('kind = "band_power"\nedges_hz = [1.0, 5.0]', BandPower((1.0, 5.0), "none")),
        ('kind = "spectrogram"\nframe = 32\nstep = 16', Spectrogram(32, 16, None, "hann", 2)),
        ('kind = "log"', Log(0.0, 1e-12, "e", 1.0)),
        ('kind = "dct"\ncount = 2', Dct(2, "ortho", 1.0)),
        (
            'kind = "log_mel"\nframe = 32\nstep = 16\nbands = 6',
            LogMel(
                32,
                16,
                fft=None,
                window="hann",
                power=2,
                bands=6,
                low_hz=0.0,
                high_hz=None,
                formula="htk",
                mel_norm="none",
                slopes="hz",
                offset=0.0,
                floor=1e-12,
                base="e",
                log_factor=1.0,
            ),
        ),
    ],
)
def test_key_that_a_spec_leaves_out_is_as_the_page_says(
    tmp_path: Path, step: str, said: Step
) -> None:
    file = tmp_path / "s.toml"
    file.write_text(SPEC.replace("[decision]", f"[[features]]\n{step}\n\n[decision]"))
    assert read_spec(file).spec.features == (said,)


def test_composite_s_keys_are_those_of_its_parts() -> None:
    assert LogMel(32, 16).parts == (Spectrogram(32, 16), Mel(40), Log())
    assert Mfcc(32, 16).parts == (Spectrogram(32, 16), Mel(40), Log(), Dct(13))
    assert Mel(40) == Mel(40, 0.0, None, "htk", "none", "hz")
    assert MicroFrontend() == MicroFrontend(10, 1.0)


def test_spec_gives_steps(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    text = '[[features]]\nkind = "scale"\nfactor = 2\n\n[[features]]\nkind = "log_mel"\n'
    file.write_text(SPEC.replace("[decision]", f"{text}frame = 32\nstep = 16\n\n[decision]"))
    assert read_spec(file).spec.features == (Scale(factor=2.0), LogMel(32, 16))
