"""Kinds of options that the command line has beside click's own."""

from typing import Any

import click

FORMATS = ("onnx", "tflite")


class Drop(click.ParamType[float]):
    """``1pp``, ``0.5 %`` or ``0.01`` as a fraction of 1."""

    name = "drop"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Return the fraction."""
        text = str(value).strip().lower()
        for unit in ("pp", "%"):
            if text.endswith(unit):
                text, scale = text[: -len(unit)].strip(), 0.01
                break
        else:
            scale = 1.0
        try:
            drop = float(text) * scale
        except ValueError:
            drop = -1.0
        if not 0 <= drop < 1:
            self.fail(f"{value!r}, expected such as 1pp or 0.01", param, ctx)
        return drop


class Formats(click.ParamType[tuple[str, ...]]):
    """``onnx``, ``tflite`` or both, by commas."""

    name = "formats"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        """Return them, each once."""
        if isinstance(value, tuple):
            return value
        found = tuple(dict.fromkeys(part.strip() for part in str(value).split(",")))
        for part in found:
            if part not in FORMATS:
                self.fail(f"{part!r}, expected onnx, tflite or onnx,tflite", param, ctx)
        return found
