"""What a model is given beside its window: the state that it gave before, and constants."""

import numpy as np

from edge_bundle.errors import BundleRefused
from edge_bundle.manifest import Manifest
from edge_bundle.runtimes.model import Model
from edge_bundle.tensor import Array, Coder


class Feedback:
    """Puts a model's state tensors back in after each run. Not thread-safe."""

    def __init__(self, manifest: Manifest, model: Model) -> None:
        """Write the constants, and begin with a state of zeros.

        Args:
            manifest: checked, with the model's own tensors.
            model: whose inputs keep what is written to them.
        Raises: BundleRefused: a constant that its input's type does not hold.
        """
        inputs = [t.name for t in manifest.tensors.inputs]
        outputs = [t.name for t in manifest.tensors.outputs]
        self._model = model
        self._pairs = [(inputs.index(s.input), outputs.index(s.output)) for s in manifest.state]
        self._coders = [
            # Integer tensors of other scales stand for other values.
            None
            if model.inputs[to].codes == model.outputs[of].codes
            else (Coder(model.outputs[of]), Coder(model.inputs[to]))
            for to, of in self._pairs
        ]
        for name, value in manifest.constants.items():
            _fill(f"{manifest.file_name}: constants.{name}", value, model.input(inputs.index(name)))
        self.reset()

    def carry(self) -> None:
        """Make what the last run gave the state of the next one."""
        model = self._model
        for (to, of), coders in zip(self._pairs, self._coders, strict=True):
            if coders is None:
                np.copyto(model.input(to), model.output(of))
            else:
                given, taken = coders
                taken.encode(given.decode(model.output(of)), model.input(to))

    def reset(self) -> None:
        """Begin anew with zeros."""
        for to, _ in self._pairs:
            self._model.input(to)[...] = self._model.inputs[to].zero_point or 0


def _fill(where: str, value: float, target: Array) -> None:
    try:
        with np.errstate(over="ignore"):
            target[...] = value
    except (OverflowError, ValueError):
        fits = False
    else:
        # Real numbers may be rounded; a whole one that changes is another.
        real = target.dtype.kind == "f"
        fits = bool(np.isfinite(target).all() if real else (target == value).all())
    if not fits:
        raise BundleRefused(f"{where}: {value}: the input is {target.dtype}")
