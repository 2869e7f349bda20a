"""The device's side: run models on live sensor data, publish predictions, take new versions."""

from typing import Final

VERSION: Final = "0.1.0"
