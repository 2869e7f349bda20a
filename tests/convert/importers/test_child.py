"""What a framework's process does, prints or dies of never reaches ours."""

import os
import pickle
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from convert.importers.child import export_apart
from convert.importers.kinds import Kind
from edge_bundle.errors import ModelRefused
from tests.convert.importers.examples import fit_forest, require_sklearn, save


class Call:
    """Pickled, it calls a function when it is read."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


@pytest.fixture(autouse=True)
def _sklearn() -> None:
    require_sklearn()


def refuse(value: object, folder: Path, limit_s: float = 60.0) -> str:
    file = save(value, folder / "m.pkl")
    with pytest.raises(ModelRefused) as refusal:
        export_apart(Kind.SKLEARN_PICKLE, file, trust=True, limit_s=limit_s)
    message = str(refusal.value)
    assert message.startswith(f"{file}: ")
    assert "\n" not in message
    return message


def test_what_it_prints_stays_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    threads = threading.active_count()
    said = {"print": Call(print, "x" * 100), "stderr": Call(os.write, 2, b"y" * 100)}
    assert "a pickle of builtins's dict, expected" in refuse(said, tmp_path)
    assert capfd.readouterr() == ("", "")
    assert threading.active_count() == threads


def test_crash(tmp_path: Path) -> None:
    said = refuse([Call(os.write, 2, b"heap is corrupt\n"), Call(os.abort)], tmp_path)
    assert "was killed by SIGABRT, while exporting it; its last line: heap is corrupt" in said


@pytest.mark.parametrize("seed", range(2))
def test_damage_of_one_bit_is_refused_or_harmless(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    data = bytearray(pickle.dumps(fit_forest()))
    data[random.integers(2, len(data))] ^= 1 << random.integers(8)
    file = tmp_path / "m.pkl"
    file.write_bytes(data)
    try:
        # A tree that leads to itself has no end.
        imported = export_apart(Kind.SKLEARN_PICKLE, file, trust=True, limit_s=20.0)
    except ModelRefused as refusal:
        message = str(refusal)
    else:
        message = imported.notes[-1]
    assert message
    assert "\n" not in message


def test_exit(tmp_path: Path) -> None:
    assert "scikit-learn ended with exit code 7 while" in refuse(Call(sys.exit, 7), tmp_path)


def test_flood_of_output_and_a_process_left_behind(tmp_path: Path) -> None:
    flood = "head -c 30000000 /dev/zero; echo; echo the end; sleep 60 &"
    said = refuse([Call(os.system, flood), Call(os._exit, 3)], tmp_path)
    assert said.endswith("its last line: the end")


def test_time_is_limited(tmp_path: Path) -> None:
    begun = time.monotonic()
    said = refuse(Call(time.sleep, 600), tmp_path, limit_s=0.2)
    assert said.endswith("scikit-learn took longer than 0.2 s to export it")
    assert time.monotonic() - begun < 30


def test_classes_of_the_users_folder_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "farm_features.py").write_text("class Spectrum:\n    pass\n")
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')\n")
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "m.pkl"
    file.write_bytes(b"cfarm_features\nSpectrum\n.")
    with pytest.raises(ModelRefused, match="a pickle of builtins's type"):
        export_apart(Kind.SKLEARN_PICKLE, file, trust=True)
