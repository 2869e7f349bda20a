"""Where onnx2tf lives: an environment of its own, whose exact packages get along with no others'.

It is used here and made in ``setup``. Of the package's 18 requirements these pins leave out those
that a conversion to float never loads, OpenCV and SymPy among them.
"""

import hashlib
import os
from pathlib import Path
from typing import Final

from convert.child import Ended, run_child
from edge_bundle.errors import ConfigError

PINS: Final = (
    "ai-edge-litert==2.1.2",
    "flatbuffers==25.12.19",
    "markdown-it-py==4.3.0",
    "mdurl==0.1.2",
    "ml-dtypes==0.5.4",
    "numpy==2.2.6",
    "onnx==1.20.1",
    "onnx2tf==2.6.9",
    "onnxruntime==1.26.0",
    "onnxsim==0.6.5",
    "protobuf==7.35.1",
    "psutil==7.0.0",
    "pygments==2.21.0",
    "rich==15.0.0",
    "sng4onnx==2.0.1",
    "tqdm==4.67.1",
    "typing-extensions==4.16.0",
)
SIZE: Final = "about 380 MB"
WHOLE: Final = ".whole"
"""Written last: an environment without it is what an interrupted setup left."""


def environment_folder() -> Path:
    """Return where the environment of these pins belongs, in the user's cache."""
    version = next(p for p in PINS if p.startswith("onnx2tf==")).partition("==")[2]
    pins = hashlib.sha256("\n".join(PINS).encode()).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The specification of these folders has a relative one ignored.
    root = cache if cache.is_absolute() else Path.home() / ".cache"
    return root / "edgeward" / f"onnx2tf-{version}-{pins[:12]}"


def find_environment() -> Path | None:
    """Return the environment where it is whole, else None."""
    folder = environment_folder()
    return folder if (folder / WHOLE).is_file() else None


def run_tool(
    environment: Path, tool: str, *arguments: str, folder: Path, timeout_s: float
) -> Ended:
    """Run a command of the environment.

    Args:
        environment: as ``find_environment`` gives it.
        tool: name of a script of its ``bin`` folder.
        arguments: of the command.
        folder: that it works in, and leaves its temporary files in.
        timeout_s: after which it is killed, with all that it started.
    Raises: ConfigError: it cannot be started.
    """
    # onnx2tf starts onnxsim by name, and goes on with a worse model where it finds none.
    path = f"{environment / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    try:
        return run_child(
            [str(environment / "bin" / tool), *arguments],
            clean_variables() | {"PATH": path, "TMPDIR": str(folder)},
            folder,
            timeout_s,
        )
    except OSError as error:
        raise damaged(environment, f"{tool}: {error.strerror or error}") from None


def damaged(environment: Path, why: str) -> ConfigError:
    """Return what to raise where the environment itself does not work."""
    return ConfigError(f"{environment}: {why}; make it anew: edge-convert setup-tflite")


def clean_variables() -> dict[str, str]:
    """Return this process's variables without those that lead another Python to our packages."""
    foreign = ("PYTHON", "ONNX2TF_", "__PYVENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {"PYTHONNOUSERSITE": "1"}
