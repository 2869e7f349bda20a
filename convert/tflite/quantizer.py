"""ai-edge-quantizer, run without a word and without a trace in the process."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from convert.given.source import first_line
from edge_bundle.errors import ConfigError

Rule = dict[str, Any]
"""An entry of ai-edge-quantizer's recipe; a later one overrules."""


def emit(data: bytes, rules: list[Rule], measured: Mapping[str, Any] | None) -> bytes:
    """Return the file that ai-edge-quantizer makes.

    Args:
        data: a float file with a signature, and a name of its own for each tensor.
        rules: the recipe.
        measured: ``min`` and ``max`` by tensor name, each of the tensor's rank; of activations.
    Raises: ConfigError: not installed, or it does not import. Whatever else the library raises.
    """
    with _quiet():
        try:
            from ai_edge_quantizer import quantizer
            from tqdm import tqdm
        except ImportError as error:
            raise ConfigError(_absence(error)) from None
        # A bar, even a hidden one, starts a thread that stays.
        interval, tqdm.monitor_interval = tqdm.monitor_interval, 0
        try:
            result = quantizer.Quantizer(data, rules).quantize(
                measured, enable_progress_bar=False, enable_progress_report=False
            )
        finally:
            tqdm.monitor_interval = interval
    return bytes(result.quantized_model)


def _absence(error: ImportError) -> str:
    if error.name == "ai_edge_quantizer":
        return "ai-edge-quantizer is not installed: pip install 'edgeward[convert-tflite]'"
    return f"ai-edge-quantizer does not import: {first_line(error)}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's advice and progress off the user's screen."""
    root, sink = logging.getLogger(), logging.NullHandler()
    # Without a handler logging.warning() installs one that prints, for the whole process.
    root.addHandler(sink)
    root.addFilter(_not_from_root)
    nowhere = io.StringIO()
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeFilter(_not_from_root)
        root.removeHandler(sink)


def _not_from_root(record: logging.LogRecord) -> bool:
    return record.name != "root"
