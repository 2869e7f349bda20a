"""A model file of any kind that can be read, as a float source."""

from dataclasses import replace
from pathlib import Path

from convert.extras import require_tflite
from convert.given.source import Source, read_bounded, read_onnx
from convert.importers.importer import import_model
from convert.inspection.trial import require_safe
from convert.progress import Progress
from edge_bundle.runtimes.loader import guess_format


def read_source(path: Path, trust: bool, progress: Progress) -> Source:
    """Read an ONNX or TFLite file, or a file of a framework through its own exporter.

    Args:
        path: the file.
        trust: whether the user vouches for a file that can run programs when it is read.
        progress: told what begins.
    Raises: ConfigError: no such file, not trusted, or a package is missing. ModelRefused: not a
        model, or one that cannot be used.
    """
    imported = import_model(path, trust, progress)
    if imported is not None:
        source = read_onnx(path, imported.data)
        how = f"{imported.framework} model, exported by {imported.exporter}."
        return replace(source, notes=(how, *imported.notes))
    data = read_bounded(path)
    if path.suffix != ".tflite" and guess_format(data) != "tflite":
        return read_onnx(path)
    require_tflite()
    from convert.tflite.source import read_tflite

    read = read_tflite(path)
    # Some files end the process that loads them.
    require_safe(read.data, "tflite", str(path))
    outputs = tuple(t.name for t in read.outputs)
    return Source(path, "tflite", read.data, read.sha256, len(read.data), read.input, outputs)
