"""A bundle that fails its own golden vectors is not left in place."""

import io
from pathlib import Path

import numpy as np
import pytest

from convert.build import Order, build
from convert.pack import place_bundle
from edge_bundle.archive import read_bundle
from edge_bundle.errors import ModelRefused
from tests.convert.example import CALIBRATION, EVALUATION, MODEL, SPEC


def test_bundle_that_contradicts_its_golden_vectors_leaves_no_file(tmp_path: Path) -> None:
    order = Order(MODEL, SPEC, CALIBRATION, EVALUATION, out=tmp_path / "good")
    bundle = read_bundle(build(order, lambda _: None).bundle)
    files = {name: bundle.read(name) for name in bundle.manifest.files}
    with np.load(io.BytesIO(files["golden.npz"])) as golden:
        changed = io.BytesIO()
        np.savez(changed, windows=golden["windows"], scores=golden["scores"] + np.float32(0.1))
    files["golden.npz"] = changed.getvalue()
    with pytest.raises(ModelRefused, match=r"a score differs by 0\.1, at most 0\.02"):
        place_bundle(tmp_path / "bad", bundle.manifest, files)
    assert list((tmp_path / "bad").iterdir()) == []
