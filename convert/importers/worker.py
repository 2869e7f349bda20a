"""The process that loads a framework: one file in, an ONNX file and an answer out.

Started by ``child``; what frameworks print goes where that process put stdout and stderr.
"""

import sys
import traceback
import warnings
from importlib import import_module
from pathlib import Path
from typing import Final

import msgspec

from convert.given.source import first_line
from edge_bundle.errors import ArtifactRefused, ConfigError

MODEL: Final = "model.onnx"
ANSWER: Final = "answer.json"


class Answer(msgspec.Struct, frozen=True):
    """How the export ended."""

    framework: str = ""
    exporter: str = ""
    notes: tuple[str, ...] = ()
    usage: str | None = None
    """What the user has to do."""
    refused: str | None = None
    """Why the file cannot be used."""


def main() -> None:
    """Export the file that the arguments name: kind, file, whether it is trusted, folder."""
    kind, file, trust, folder = sys.argv[1:]
    answer = run_export(kind, Path(file), trust == "trusted", Path(folder))
    (Path(folder) / ANSWER).write_bytes(msgspec.json.encode(answer))


def run_export(kind: str, file: Path, trust: bool, folder: Path) -> Answer:
    """Export a file into a folder and say how that ended."""
    # A user's PYTHONWARNINGS=error is meant for the user's own programs.
    warnings.simplefilter("default")
    try:
        imported = import_module(f"convert.importers.{kind}").export(file, trust)
    except ConfigError as error:
        return Answer(usage=str(error))
    except ArtifactRefused as error:
        return Answer(refused=str(error))
    except ImportError as error:
        traceback.print_exc()
        return Answer(usage=f"an installed package does not load: {first_line(error)}")
    except Exception as error:  # whatever a framework raises ends here, and is one line
        traceback.print_exc()
        return Answer(refused=f"cannot be exported: {type(error).__name__}: {first_line(error)}")
    (folder / MODEL).write_bytes(imported.data)
    return Answer(imported.framework, imported.exporter, imported.notes)
