"""A bundle's parts put together, proven by its own golden vectors, and only then left in place."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from convert import quantization
from convert.source import Source
from convert.spec import Spec
from convert.windows import Windows
from edge_bundle.archive import Bundle, read_bundle, write_bundle
from edge_bundle.errors import ConfigError, ModelRefused
from edge_bundle.golden import check_golden
from edge_bundle.inference import Inference
from edge_bundle.manifest import Golden, Manifest, Provenance, Reference, Tensor, Tensors
from edge_bundle.runtimes.loader import load_model

Precision = Literal["int8", "float"]
MODEL: Final = "model.onnx"
GOLDEN: Final = "golden.npz"
REFERENCE: Final = "reference.npz"
RECIPES: Final[dict[Precision, str]] = {"int8": quantization.RECIPE, "float": "canonical float"}
TOLERANCES: Final[dict[Precision, float]] = {"int8": 0.02, "float": 1e-4}
"""Of a score, between machines: int8 kernels round at other places, float ones add in another
order."""


def draft_manifest(
    identity: tuple[str, str, Precision],
    spec: Spec,
    model: bytes,
    source: Source,
    calibration: Windows,
    evaluation: Windows,
) -> Manifest:
    """Return the manifest as it is before anything was measured.

    Args:
        identity: name, version, precision.
        spec: whose tables the manifest takes over.
        model: in canonical form; quantizing changes no tensor that a manifest names.
        source: where the model came from.
        calibration: windows that it was quantized with.
        evaluation: windows that it will be measured on.
    Raises: ModelRefused: where the runtime cannot load the model.
    """
    name, version, precision = identity
    loaded = load_model(model, "onnx")
    inputs, outputs = (
        tuple(Tensor(t.name, t.shape, t.dtype, t.scale, t.zero_point) for t in tensors)
        for tensors in (loaded.inputs, loaded.outputs)
    )
    return Manifest(
        name=name,
        version=version,
        variant=f"onnx-{precision}",
        format="onnx",
        model=MODEL,
        files={},
        tensors=Tensors(inputs, outputs),
        requires=spec.requires,
        stream=spec.stream,
        features=spec.features,
        decision=spec.decision,
        golden=Golden(GOLDEN, TOLERANCES[precision]),
        reference=Reference(REFERENCE),
        limits=spec.limits,
        provenance=Provenance(
            source_sha256=source.sha256,
            recipe=RECIPES[precision],
            calibration_sha256=calibration.sha256,
            evaluation_sha256=evaluation.sha256,
            evaluation_windows=len(evaluation.samples),
        ),
    )


def place_bundle(
    folder: Path, manifest: Manifest, files: Mapping[str, bytes]
) -> tuple[Path, Bundle]:
    """Write a bundle out of sight, run its golden vectors, and move it into a folder.

    Args:
        folder: made if it is not there.
        manifest: its ``files`` is filled in from ``files``.
        files: members by name, without the manifest.
    Returns: where it is, and what was read back.
    Raises: ConfigError: the folder cannot be written. ArtifactRefused: it does not hold together.
    """
    path = folder / manifest.file_name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".edge-convert-") as beside:
            bundle = read_bundle(write_bundle(Path(beside), manifest, files).path)
            golden = check_golden(bundle, Inference.open(bundle))
            if not golden.ok:
                raise ModelRefused(
                    f"{path}: golden vectors: a score differs by {golden.largest:.3g}, "
                    f"at most {golden.tolerance:.3g}: the model is not deterministic"
                )
            os.replace(bundle.path, path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    return path, bundle
