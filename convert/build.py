"""A build from beginning to end: read, calibrate once, choose, judge, pack, prove, report."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from convert.choice.pairing import choose
from convert.choice.ranking import Ranking, Yardstick
from convert.choice.recipes import Format
from convert.choice.selection import Selection
from convert.choice.tried import Choice
from convert.extras import require_tflite
from convert.findings import Precision
from convert.float_models import FloatModels, prepare_models
from convert.given.samples import Samples, read_samples, separate
from convert.given.source import Source, check_input, choose_outputs
from convert.given.spec import EMPTY, SpecFile, read_spec
from convert.given.windows import spread
from convert.intake import read_source
from convert.judgement.allowance import Allowance
from convert.judgement.judge import Judge, check_outputs, choose_metric
from convert.judgement.metrics import load_function
from convert.parity import Parity, measure_parity, run_model
from convert.products.bundling import check_folder
from convert.products.candidates import write_candidates
from convert.products.identity import check_version, choose_name
from convert.products.writing import Built, Outcome, write_products
from convert.progress import Progress
from convert.targets import HOST, Target, read_target
from edge_bundle.decision.fit import check_rule
from edge_bundle.errors import ConfigError, ModelRefused
from edge_bundle.latency import Profile, read_profile

PARITY_SAMPLES: Final = 32
TIE_SAMPLES: Final = 256
"""Of the calibration, that rank what the parity samples do not tell apart."""
MOST_PASSES: Final = 7
"""Full labelled passes of a build, however many formats."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to build, from what."""

    model: Path
    evaluation: str
    """A recording or a ``.npz`` with ``x``, or a part of one."""
    calibration: str | None = None
    """Likewise, without a sample of the evaluation; None: no static int8."""
    spec: Path | None = None
    """None: the model takes prepared tensors as they are."""
    formats: tuple[Format, ...] = ()
    """Empty: the model's own."""
    precision: Precision | Literal["auto"] = "auto"
    max_drop: float = 0.01
    """Of the metric, as a fraction of 1."""
    metric: str | None = None
    """``module:function``; None: accuracy, or agreement with float where there are no labels."""
    target: str = "generic"
    latency: str = "host"
    """``host``, or a board's profile."""
    name: str | None = None
    """None: after the model file."""
    version: str = "0.1.0"
    out: Path = Path("dist")
    candidates: Path | None = None
    """Folder that gets every model file that could be chosen, to be timed on a board."""
    trust: bool = False


@dataclass(frozen=True, slots=True)
class _Given:
    """All that was read, and found good."""

    name: str
    version: str
    file: SpecFile
    target: Target
    profile: Profile | None
    source: Source
    formats: tuple[Format, ...]
    calibration: Samples | None
    evaluation: Samples


def build(order: Order, progress: Progress) -> Built:
    """Build one bundle for each format; they appear in ``order.out`` when all are whole and proven.

    Args:
        order: what to build.
        progress: told what begins now, once all that was given is found good.
    Raises: ConfigError, ArtifactRefused.
    """
    given = _read(order, progress)
    source, spec = given.source, given.file.spec
    first = given.calibration or given.evaluation
    some = [first.inputs[i] for i in spread(len(first), PARITY_SAMPLES)]
    parity = measure_parity(source, choose_outputs(source, given.file), some)
    _check_decision(given.file, parity)
    check_outputs(source.path, parity.shapes, len(given.evaluation))
    make_metric = choose_metric(
        order.metric, given.evaluation, parity.outputs, parity.shapes, spec.decision
    )
    models = prepare_models(parity, given.formats, given.calibration, progress)
    if order.candidates is not None:
        write_candidates(models.by_format.values(), given.target, order.candidates, progress)
    progress(f"measuring the float model on {len(given.evaluation)} evaluation samples")
    reference = models.by_format[given.formats[0]]
    expected = run_model(
        reference.data, reference.format, given.evaluation.inputs, progress.advance
    )
    judge = Judge(
        given.evaluation,
        make_metric(expected),
        expected,
        order.max_drop,
        Allowance(MOST_PASSES),
        progress,
    )
    choices = _choose(order, given, models, parity, judge, progress)
    outcome = Outcome(
        name=given.name,
        version=given.version,
        spec=spec,
        target=given.target,
        profile=given.profile,
        source=source,
        outputs=parity.outputs,
        shapes=parity.shapes,
        calibration=given.calibration,
        evaluation=given.evaluation,
        models=models,
        judge=judge,
        choices=choices,
    )
    return write_products(outcome, order.out, progress)


def _read(order: Order, progress: Progress) -> _Given:
    name, version = choose_name(order.name, order.model), check_version(order.version)
    check_folder(order.out, "--out")
    if order.candidates is not None:
        check_folder(order.candidates, "--candidates")
    file = read_spec(order.spec) if order.spec else EMPTY
    target = read_target(order.target)
    profile = None if order.latency == HOST else _read_profile(order.latency)
    if order.metric is not None:
        load_function(order.metric)
    if order.precision == "int8" and order.calibration is None:
        raise ConfigError("--precision int8 needs --calibration: samples that set its ranges")
    source = read_source(order.model, order.trust, progress)
    formats = order.formats or (source.format,)
    if "tflite" in formats:
        require_tflite()
    if source.format == "tflite" and formats != ("tflite",):
        raise ConfigError(
            f"--to {','.join(formats)}: {order.model} is TFLite and gives TFLite alone"
        )
    check_input(source, file.spec)
    choose_outputs(source, file)
    calibration = None
    if order.calibration is not None:
        calibration = read_samples(order.calibration, file.spec, source.input, to_judge=False)
    evaluation = read_samples(order.evaluation, file.spec, source.input, to_judge=True)
    if calibration is not None:
        given, calibration = len(calibration), separate(calibration, evaluation)
        if left_out := given - len(calibration):
            note = f"{left_out} of {given} calibration samples also in the evaluation: left out."
            source = replace(source, notes=(*source.notes, note))
    return _Given(name, version, file, target, profile, source, formats, calibration, evaluation)


def _read_profile(name: str) -> Profile:
    try:
        return read_profile(Path(name))
    except ConfigError as error:
        raise ConfigError(f"--latency: {error}") from None


def _check_decision(file: SpecFile, parity: Parity) -> None:
    if file.spec.decision is None:
        return
    source = parity.source
    try:
        check_rule(
            file.spec.decision,
            source.input.size,
            dict(zip(parity.outputs, parity.shapes, strict=True)),
        )
    except ValueError as error:
        raise ModelRefused(f"{source.path}: {error}") from None


def _choose(
    order: Order,
    given: _Given,
    models: FloatModels,
    parity: Parity,
    judge: Judge,
    progress: Progress,
) -> dict[Format, Choice]:
    precision = None if order.precision == "auto" else order.precision
    samples = given.calibration.inputs if given.calibration else []
    more = [samples[i] for i in spread(len(samples), TIE_SAMPLES)]
    yardstick = Yardstick(parity.inputs, parity.found, more)
    selections = []
    for form in given.formats:
        ranking = Ranking(
            models.by_format[form],
            given.target,
            yardstick,
            given.profile,
            progress,
            forced=precision is not None,
        )
        selections.append(Selection(ranking, judge, progress, precision))
    choices = choose(selections)
    for form, choice in zip(given.formats, choices, strict=True):
        if choice.chosen is None and all(t.data is None for t in choice.tried):
            why = choice.tried[0].why if choice.tried else choice.explanations[-1]
            raise ModelRefused(f"{given.source.path}: {form} {order.precision}: {why}")
    for selection in selections:
        if not any(choice.damages for choice in choices):
            selection.show_damage()
    return dict(zip(given.formats, choices, strict=True))
