"""Every bad input is one clear line with its exit code, and leaves nothing behind."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.convert.conftest import Ended, Run
from tests.convert.example import CALIBRATION, EVALUATION, MODEL, RECORDING, SPEC

CHANNELS = ("ax", "ay", "az", "wx", "wy", "wz")


class Refused:
    """Runs a build with some options changed, and checks that it ends as a refusal does."""

    def __init__(self, run: Run, folder: Path) -> None:
        self._run = run
        self.out = folder / "dist"

    def __call__(self, code: int, model: object = MODEL, **options: object) -> str:
        given = {
            "spec": SPEC,
            "calibration": CALIBRATION,
            "evaluation": EVALUATION,
            "out": self.out,
            **options,
        }
        flat = [part for key, value in given.items() for part in (f"--{key}", value)]
        ended: Ended = self._run("build", model, *flat)
        assert ended.code == code, ended.err
        assert ended.out == ""
        assert ended.err.startswith("edge-convert: ")
        assert ended.err.count("\n") == 1
        assert not self.out.exists()
        return ended.err


@pytest.fixture
def refused(run: Run, tmp_path: Path) -> Refused:
    return Refused(run, tmp_path)


def write_npz(file: Path, values: "np.typing.NDArray[np.float32]", label: str) -> Path:
    y_labels = np.asarray([label])
    np.savez(file, values=values, y=np.zeros(1, np.int8), y_labels=y_labels, channels=CHANNELS)
    return file


def real_samples(count: int) -> "np.typing.NDArray[np.float32]":
    with np.load(RECORDING) as arrays:
        return np.asarray(arrays["values"][:count], np.float32)


def write_spec(file: Path, old: str, new: str) -> Path:
    text = SPEC.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return file


def test_missing_model(refused: Refused, tmp_path: Path) -> None:
    assert "No such file" in refused(2, tmp_path / "none.onnx")


def test_missing_recording(refused: Refused, tmp_path: Path) -> None:
    assert "no such recording" in refused(2, calibration=tmp_path / "none.npz")


def test_missing_spec(refused: Refused, tmp_path: Path) -> None:
    assert "No such file" in refused(2, spec=tmp_path / "none.toml")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", b"TFL3" * 9])
def test_file_that_is_not_a_model(refused: Refused, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "text.onnx"
    file.write_bytes(content)
    assert "not an ONNX model" in refused(3, file)


def test_truncated_model(refused: Refused, tmp_path: Path) -> None:
    file = tmp_path / "half.onnx"
    file.write_bytes(MODEL.read_bytes()[:30_000])
    assert "not an ONNX model" in refused(3, file)


def test_stream_of_another_shape_than_the_model_says_both(refused: Refused, tmp_path: Path) -> None:
    spec = write_spec(tmp_path / "s.toml", "window = 100", "window = 90")
    line = refused(3, spec=spec)
    assert "1x600 = 600 values" in line
    assert "90x6 = 540 values" in line


def test_model_with_another_number_of_scores(refused: Refused, tmp_path: Path) -> None:
    spec = write_spec(tmp_path / "s.toml", '"PEN", ', "")
    assert "gives 7 scores [1, 7], decision.labels has 6 labels" in refused(
        3, spec=spec, evaluation=f"{RECORDING}#7-10"
    )


def test_scores_that_are_no_floats(refused: Refused, tmp_path: Path) -> None:
    spec = write_spec(tmp_path / "s.toml", '"probabilities"', '"label"')
    assert "output label: int64, expected float32" in refused(3, spec=spec)


def test_output_that_the_model_lacks(refused: Refused, tmp_path: Path) -> None:
    spec = write_spec(tmp_path / "s.toml", '"probabilities"', '"scores"')
    line = refused(2, spec=spec)
    assert f"{spec}:19:1: decision.output: 'scores', the model has label, probabilities" in line


def test_recording_with_too_few_samples(refused: Refused, tmp_path: Path) -> None:
    short = write_npz(tmp_path / "short.npz", real_samples(99), "PEN")
    assert "99 samples, one window needs 100" in refused(3, evaluation=short)


def test_nan_in_the_samples(refused: Refused, tmp_path: Path) -> None:
    samples = real_samples(300)
    samples[7, 2] = np.nan
    bad = write_npz(tmp_path / "bad.npz", samples, "PEN")
    assert "sample 7, channel az: nan" in refused(3, calibration=bad)


def test_unknown_key_in_the_spec(refused: Refused, tmp_path: Path) -> None:
    spec = write_spec(tmp_path / "s.toml", "window =", "windw =")
    assert f"{spec}:6:1: stream.windw: unknown key; did you mean 'window'?" in refused(2, spec=spec)


def test_evaluation_that_repeats_the_calibration(refused: Refused) -> None:
    line = refused(3, evaluation=f"{RECORDING}#4,5")
    assert "9 of 18 evaluation windows are also in the calibration" in line


def test_label_that_the_model_cannot_say(refused: Refused, tmp_path: Path) -> None:
    other = write_npz(tmp_path / "other.npz", real_samples(200)[::-1], "RUN")
    assert "label 'RUN' is not in decision.labels: PEN, ABD" in refused(3, evaluation=other)


def test_evaluation_without_labels(refused: Refused, tmp_path: Path) -> None:
    file = tmp_path / "plain.csv"
    with file.open("w", newline="") as text:
        rows = csv.writer(text)
        rows.writerow(CHANNELS)
        rows.writerows(real_samples(120)[::-1].tolist())
    assert "no labelled window to measure on" in refused(3, evaluation=file)


def test_selection_that_cannot_be(refused: Refused) -> None:
    assert "the file has recordings 0 to 13" in refused(2, evaluation=f"{RECORDING}#40")


def test_out_that_is_a_file(refused: Refused, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert "not a folder" in refused(2, out=file / "dist")


@pytest.mark.parametrize(("option", "value"), [("name", "Wrist Watch"), ("version", "1.0")])
def test_name_and_version_that_no_bundle_can_have(
    refused: Refused, option: str, value: str
) -> None:
    assert f"--{option}: '{value}'" in refused(2, **{option: value})


def test_option_that_is_not_there(refused: Refused) -> None:
    assert "No such option" in refused(2, precison="int8")


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv[1:] = ['--help']; from convert.__main__ import cli\n"
        "cli.main(standalone_mode=False)\n"
        "print(sorted({'onnx', 'onnxruntime', 'rich', 'numpy'} & sys.modules.keys()))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )
    assert ended.stdout.endswith("[]\n")


def test_missing_extra_is_named() -> None:
    script = (
        "import sys; sys.modules['onnx'] = None\n"
        "sys.argv[1:] = 'build m --spec s --calibration c --evaluation e'.split()\n"
        "from convert.__main__ import main; main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=False, text=True
    )
    assert ended.returncode == 2
    assert ended.stderr == (
        "edge-convert: onnx is not installed: pip install 'edgeward[convert]'\n"
    )
