"""Which framework wrote a file: told by its first bytes, and by its suffix where these say nothing.

No file is loaded here, so nothing in one can run.
"""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

NOT_IMPORTED: Final = frozenset({".onnx", ".tflite"})
EXPORT_PROGRAM: Final = (
    "in the training script, call torch.export.save(torch.export.export(model.eval(), (example,)), "
    "'model.pt2'), or write ONNX: torch.onnx.export(model.eval(), (example,), 'model.onnx', "
    "dynamo=True, external_data=False)"
)


class Kind(Enum):
    """What a file holds; the values name the modules that export."""

    SKLEARN_PICKLE = "sklearn_pickle"
    TORCH_PROGRAM = "torch_program"
    KERAS_ARCHIVE = "keras_archive"
    TORCHSCRIPT = "torchscript"
    TORCH_PICKLE = "torch_pickle"
    SAVED_MODEL = "saved_model"


@dataclass(frozen=True, slots=True)
class Exporter:
    """What exporting one kind of file takes."""

    framework: str
    packages: tuple[str, ...]
    """Importable names that must be installed."""
    extra: str
    """The extra of ours that installs them."""
    risk: str = ""
    """Why reading such a file needs the user's trust; empty where it does not."""


EXPORTERS: Final[Mapping[Kind, Exporter]] = {
    Kind.SKLEARN_PICKLE: Exporter(
        "scikit-learn",
        ("sklearn", "skl2onnx"),
        "convert-sklearn",
        "a pickle can run any program when it is read",
    ),
    Kind.TORCH_PROGRAM: Exporter(
        "PyTorch",
        ("torch", "onnxscript"),
        "convert-torch",
        "torch.export.load reads pickles inside the file, which can run any program",
    ),
    Kind.KERAS_ARCHIVE: Exporter("Keras", ("keras", "torch", "onnxscript"), "convert-keras"),
}
REFUSALS: Final[Mapping[Kind, str]] = {
    Kind.TORCHSCRIPT: f"TorchScript, which PyTorch no longer exports from; {EXPORT_PROGRAM}",
    Kind.TORCH_PICKLE: (
        "a pickled PyTorch module or its weights, which say nothing of the input's shape; "
        f"{EXPORT_PROGRAM}"
    ),
    Kind.SAVED_MODEL: (
        "a TensorFlow SavedModel; save the Keras model as model.keras, or where TensorFlow is "
        "installed run python -m tf2onnx.convert --opset 17 --saved-model DIR --output model.onnx"
    ),
}
SUFFIXES: Final[Mapping[str, Kind]] = {
    ".pkl": Kind.SKLEARN_PICKLE,
    ".pickle": Kind.SKLEARN_PICKLE,
    ".joblib": Kind.SKLEARN_PICKLE,
    ".pt2": Kind.TORCH_PROGRAM,
    ".pt": Kind.TORCH_PICKLE,
    ".pth": Kind.TORCH_PICKLE,
    ".ckpt": Kind.TORCH_PICKLE,
    ".keras": Kind.KERAS_ARCHIVE,
    ".h5": Kind.KERAS_ARCHIVE,
    ".hdf5": Kind.KERAS_ARCHIVE,
}


def recognise(path: Path) -> Kind | None:
    """Return what a file holds, or None for ONNX, TFLite and what no framework here wrote.

    Raises: OSError: it cannot be opened.
    """
    suffix = path.suffix.lower()
    if suffix in NOT_IMPORTED:
        return None
    if path.is_dir():
        return Kind.SAVED_MODEL if (path / "saved_model.pb").is_file() else None
    with path.open("rb") as file:
        head = file.read(8)
    by_suffix = SUFFIXES.get(suffix)
    if head.startswith(b"PK\x03\x04"):
        return _recognise_archive(path) or by_suffix
    # Protocols 2 to 5; before them PyTorch wrote nothing, and after it all three wrote these.
    if (
        by_suffix is None
        and head[:1] == b"\x80"
        and head[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}
    ):
        return Kind.SKLEARN_PICKLE
    return by_suffix


def _recognise_archive(path: Path) -> Kind | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return None
    # PyTorch puts all under one folder, named after the file; before 2.6 programs had none.
    ends = {name.rpartition("/")[2] for name in names}
    if {"archive_format", "serialized_exported_program.json"} & ends:
        return Kind.TORCH_PROGRAM
    if "constants.pkl" in ends:
        return Kind.TORCHSCRIPT
    return Kind.TORCH_PICKLE if "data.pkl" in ends else None
