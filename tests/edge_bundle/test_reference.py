"""What a bundle says of its training inputs is found, checked, and may be absent."""

import io
from pathlib import Path

import msgspec
import numpy as np
import pytest

from convert.products.evidence import pack_reference
from edge_bundle.archive import Bundle, write_bundle
from edge_bundle.errors import BundleRefused
from edge_bundle.manifest import Reference
from edge_bundle.reference import watch_drift
from tests.edge_bundle.bundles import CHANNELS, watch_manifest, watch_windows


def with_reference(folder: Path, data: bytes | None) -> Bundle:
    files = {"model.onnx": b"not a model", "golden.npz": b"no vectors"}
    manifest = watch_manifest()
    if data is not None:
        files["reference.npz"] = data
        manifest = msgspec.structs.replace(manifest, reference=Reference("reference.npz"))
    return write_bundle(folder, manifest, files)


def test_reference_of_the_converter_is_compared_with(tmp_path: Path) -> None:
    windows = watch_windows(10)
    drift = watch_drift(with_reference(tmp_path, pack_reference(list(windows))))
    assert drift.channels == tuple(CHANNELS)
    for _ in range(10):
        for window in windows:
            drift.push(window, 0.9)
    assert drift.index is not None
    assert max(drift.index.values) < 0.25
    assert not drift.drifted


def test_without_a_reference_the_scores_alone_are_watched(tmp_path: Path) -> None:
    assert watch_drift(with_reference(tmp_path, None)).index is None


def test_reference_of_an_earlier_converter_is_no_error(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, mean=np.zeros(6))
    assert watch_drift(with_reference(tmp_path, buffer.getvalue())).index is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no zip", "not a readable .npz"),
        (pack_reference([np.ones((9, 2), np.float32)]), "2 channels, the stream has 6"),
    ],
)
def test_damaged_reference_is_refused_by_its_file(
    tmp_path: Path, data: bytes, message: str
) -> None:
    bundle = with_reference(tmp_path, data)
    with pytest.raises(BundleRefused, match=rf"{bundle.path}: reference\.npz: .*{message}"):
        watch_drift(bundle)
