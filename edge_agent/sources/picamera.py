"""A Raspberry Pi's camera module through picamera2, which Raspberry Pi OS brings as a package."""

import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent import source_tables as tables
from edge_agent.config import LoadedConfig
from edge_agent.sources.source import SourceFailed


class PicameraFrames:
    """Frames of the first camera, of the size that is asked for."""

    def __init__(self, library: Any, table: tables.Camera) -> None:
        """Start the camera.

        Raises: SourceFailed: there is none.
        """
        try:
            self._camera = library.Picamera2()
            size = (table.width, table.height)
            # picamera2 names formats from the last byte of a pixel: this is blue, green, red.
            main = {"size": size, "format": "RGB888"}
            controls = {"FrameRate": table.rate_hz}
            self._camera.configure(
                self._camera.create_video_configuration(main=main, controls=controls)
            )
            self._camera.start()
        except (RuntimeError, IndexError) as error:  # IndexError: no camera was found
            raise SourceFailed(f"picamera2: {error}; see rpicam-hello --list-cameras") from None
        self._image: npt.NDArray[np.uint8] = np.empty((0, 0, 3), np.uint8)

    def grab(self) -> bool:
        """Wait for the next frame."""
        self._image = self._camera.capture_array("main")
        return True

    def retrieve(self) -> npt.NDArray[np.uint8]:
        """Return the frame that was grabbed, uint8 [height, width, 3], blue, green, red."""
        return self._image

    def close(self) -> None:
        """Stop the camera."""
        self._camera.close()


def need_picamera(loaded: LoadedConfig, index: int) -> Any:
    """Import picamera2.

    Raises: ConfigError: it is not installed, or hidden from this environment.
    """
    try:
        return importlib.import_module("picamera2")
    except ImportError:
        raise loaded.error(
            ("source", index, "device"),
            "the Python module picamera2 is not there: sudo apt install python3-picamera2, and "
            "make the environment with python3 -m venv --system-site-packages",
        ) from None
