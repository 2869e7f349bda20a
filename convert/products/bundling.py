"""A bundle's parts put together, proven by its own golden vectors, and only then left in place."""

import os
import platform
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import msgspec

from convert.given.spec import Spec
from convert.products.identity import Identity
from edge_bundle.archive import Bundle, read_bundle, write_bundle
from edge_bundle.disk import flush_folder
from edge_bundle.errors import ConfigError, ModelRefused
from edge_bundle.golden import check_golden
from edge_bundle.inference import Inference
from edge_bundle.manifest import Golden, Manifest, Provenance, Reference, Tensor, Tensors
from edge_bundle.runtimes.loader import NO_SHAPES, load_model, runtime_version

MODELS: Final = {"onnx": "model.onnx", "tflite": "model.tflite"}
"""Name of the model file in the bundle, by format."""
GOLDEN: Final = "golden.npz"
REFERENCE: Final = "reference.npz"
HIDDEN: Final = ".edge-convert-"


def draft_manifest(
    identity: Identity,
    spec: Spec,
    model: bytes,
    format: Literal["onnx", "tflite"],  # noqa: A002 - as the manifest calls it
    provenance: Provenance,
    tolerance: float,
    shapes: Mapping[str, tuple[int, ...]] = NO_SHAPES,
) -> Manifest:
    """Return the manifest of a model file, without its members.

    Args:
        identity: of the bundle.
        spec: whose tables the manifest takes over.
        model: the file as it will be in the bundle.
        format: of the file.
        provenance: runtime and machine are filled in: golden vectors are made here.
        tolerance: of the golden scores, absolute.
        shapes: by name of a tensor, for what the file leaves free.
    Raises: ModelRefused: where the runtime cannot load or run the model. RuntimeMissing.
    """
    loaded = load_model(model, format, shapes=shapes)
    inputs, outputs = (
        tuple(Tensor(t.name, t.shape, t.dtype, t.scale, t.zero_point) for t in tensors)
        for tensors in (loaded.inputs, loaded.outputs)
    )
    stateful = bool(spec.state) or loaded.stateful or (format == "tflite" and _remembers(model))
    loaded.close()
    return Manifest(
        name=identity.name,
        version=identity.version,
        variant=identity.variant,
        format=format,
        model=MODELS[format],
        files={},
        tensors=Tensors(inputs, outputs),
        stateful=stateful,
        state=spec.state,
        constants=spec.constants,
        requires=spec.requires,
        stream=spec.stream,
        features=spec.features,
        decision=spec.decision,
        golden=Golden(GOLDEN, tolerance),
        limits=spec.limits,
        provenance=msgspec.structs.replace(
            provenance, runtime=runtime_version(format), machine=platform.machine()
        ),
    )


def check_folder(out: Path, option: str = "--out") -> None:
    """Find out before the work, and without making anything, whether a folder can be written.

    Raises: ConfigError.
    """
    try:
        there = next((f for f in (out, *out.absolute().parents) if f.exists()), out)
    except OSError as error:  # such as a name that is too long
        raise ConfigError(f"{option}: {out}: {error.strerror}") from None
    if not there.is_dir():
        raise ConfigError(f"{option}: {there}: not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"{option}: {there}: not writable")


@contextmanager
def staging_folder(out: Path) -> Iterator[Path]:
    """Make a hidden folder inside an output folder, and remove it afterwards.

    Raises: ConfigError: it cannot be written.
    """
    # Named before it is there: an interrupt may come as soon as it is.
    folder = out / f"{HIDDEN}{secrets.token_hex(4)}"
    try:
        try:
            out.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise _unwritable(out, error) from None
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def stage_bundle(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle and prove it by its own golden vectors, in a model loaded anew.

    Args:
        folder: where nobody looks for bundles, on the disk of the output folder.
        manifest: its ``files`` and ``reference`` are filled in from ``files``.
        files: members by name, without the manifest.
    Returns: what was read back.
    Raises: ConfigError: the folder cannot be written. ModelRefused: a golden score does not come
        out again. ArtifactRefused: it does not hold together.
    """
    if REFERENCE in files:
        manifest = msgspec.structs.replace(manifest, reference=Reference(REFERENCE))
    try:
        bundle = read_bundle(write_bundle(folder, manifest, files).path)
    except OSError as error:
        raise _unwritable(folder, error) from None
    inference = Inference.open(bundle)
    golden = check_golden(bundle, inference)
    inference.close()
    if not golden.ok:
        raise ModelRefused(
            f"{manifest.file_name}: golden vectors: a score differs by {golden.largest:.3g}, "
            f"at most {golden.tolerance:.3g}: the model is not deterministic"
        )
    return bundle


def move_into_place(staged: Sequence[Path], out: Path) -> list[Path]:
    """Move whole files into a folder: all, or on an error none, and what was there is back.

    Only a power cut between two of the renames leaves some new and some old; no file is ever half.

    Args:
        staged: files on the disk of ``out``, with different names.
        out: made if it is not there.
    Returns: where they are.
    Raises: ConfigError: it cannot be written.
    """
    targets = [out / path.name for path in staged]
    try:
        with staging_folder(out) as kept:
            for target in targets:
                if target.exists():
                    shutil.copyfile(target, kept / target.name)
            moved: list[Path] = []
            try:
                for path, target in zip(staged, targets, strict=True):
                    os.replace(path, target)
                    moved.append(target)
            except OSError:
                _take_back(moved, kept)
                raise
        flush_folder(out)
    except OSError as error:
        raise _unwritable(out, error) from None
    return targets


def _take_back(moved: Sequence[Path], kept: Path) -> None:
    for target in moved:
        before = kept / target.name
        if before.exists():
            os.replace(before, target)
        else:
            target.unlink()


def _remembers(data: bytes) -> bool:
    """Tell whether a TFLite file has variables, as a recurrent layer's.

    Its interpreter does not say so, and one input twice need not show it.
    """
    from convert.inspection.tflite_anatomy import read_tflite  # who makes ONNX has no TFLite

    return bool(read_tflite(data).stateful)


def _unwritable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{error.filename or folder}: {error.strerror or error}")
