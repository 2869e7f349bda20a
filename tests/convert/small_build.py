"""A whole build of a small model, with a board's profile that has not run anything: no timing."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from convert.build import Order, build
from convert.parity import run_model
from convert.products.writing import Built
from tests.convert.classifier import Told, inputs_of, perceptron


@dataclass(frozen=True)
class Workshop:
    """A folder with all that a build needs; ``out`` is not there yet."""

    folder: Path
    order: Order

    @property
    def out(self) -> Path:
        """Where the products go."""
        return self.order.out

    def build(self, **changes: Any) -> Built:
        """Build what the order says, with some of it changed."""
        return build(replace(self.order, **changes), Told())


def open_workshop(folder: Path) -> Workshop:
    """Write model, samples and profile; float is right on every sample."""
    model = perceptron(folder / "small.onnx")
    x = inputs_of(100, seed=4)
    (scores,) = run_model(model.read_bytes(), "onnx", list(x))
    np.savez(folder / "eval.npz", x=x, y=scores.reshape(len(x), -1).argmax(axis=1))
    np.savez(folder / "cal.npz", x=inputs_of(40))
    profile = folder / "board.json"
    profile.write_text('{"machine": "a board", "latency_us": {}}')
    order = Order(
        model=model,
        evaluation=str(folder / "eval.npz"),
        calibration=str(folder / "cal.npz"),
        latency=str(profile),
        precision="int8",
        max_drop=0.05,
        name="small",
        version="1.0.0",
        out=folder / "dist",
    )
    return Workshop(folder, order)
