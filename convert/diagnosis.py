"""Which nodes of a model int8 hurts, before anything is built."""

from dataclasses import dataclass
from pathlib import Path

from convert.choice.ranking import rank_statically
from convert.choice.recipes import Format, static_recipes
from convert.choice.sensitivity import measure_damage
from convert.findings import Damage
from convert.float_models import prepare_models
from convert.given.samples import read_samples
from convert.given.source import check_input, choose_outputs
from convert.given.spec import EMPTY, read_spec
from convert.given.windows import spread
from convert.intake import read_source
from convert.parity import measure_parity
from convert.progress import Progress
from convert.targets import read_target
from edge_bundle.errors import ConfigError

RANKED_ON = 32
"""Calibration samples that are run for each node."""


@dataclass(frozen=True, slots=True)
class DiagnosisOrder:
    """What to look at."""

    model: Path
    calibration: str
    spec: Path | None = None
    form: Format | None = None
    """None: the model's own."""
    target: str = "generic"
    trust: bool = False


def diagnose(order: DiagnosisOrder, progress: Progress) -> list[Damage]:
    """Return what each node costs when it alone is int8, by the best recipe for all of them.

    Raises: ConfigError, ArtifactRefused.
    """
    file = read_spec(order.spec) if order.spec else EMPTY
    target = read_target(order.target)
    source = read_source(order.model, order.trust, progress)
    if source.format == "tflite" and order.form == "onnx":
        raise ConfigError(f"--to onnx: {order.model} is TFLite and gives TFLite alone")
    check_input(source, file.spec)
    calibration = read_samples(order.calibration, file.spec, source.input, to_judge=False)
    some = [calibration.inputs[i] for i in spread(len(calibration), RANKED_ON)]
    parity = measure_parity(source, choose_outputs(source, file), some)
    form = order.form or source.format
    model = prepare_models(parity, (form,), calibration, progress).by_format[form]
    progress("ranking the ways of static int8")
    best = rank_statically(model, static_recipes(model, target), parity)
    progress("measuring which nodes int8 hurts")
    return measure_damage(model, best, parity.inputs, parity.found, progress)
