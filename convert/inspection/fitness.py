"""What each target can run, and what a build could make: rules over what a file is made of."""

from collections.abc import Callable, Iterable
from typing import Final, Literal

from msgspec import Struct

from convert.inspection.anatomy import Anatomy, Format
from convert.inspection.trial import Trial
from convert.targets import Runtime, Target
from edge_bundle.errors import ModelRefused

MEMORY_SHARE: Final = 0.5
"""Of a device's memory that a model may take: the rest is the system's and the agent's."""
MIN_OPSET: Final = 7
"""Before it operators broadcast in another way, and onnxruntime promises nothing."""
PACK: Final = "`edge-convert pack` takes it as it is"


class Fitness(Struct, frozen=True):
    """Whether a target can run a file as it is."""

    target: str
    runs: Literal["yes", "no", "not tried"]
    """``not tried``: nothing speaks against it, but no runtime here could show it."""
    why: str
    """In a sentence or two; what to do about a ``no`` where something can be done."""


class Buildable(Struct, frozen=True):
    """Whether ``edge-convert build`` can make a format from a file."""

    format: Format
    possible: bool
    why: str
    """The reason for a no; how, for a yes."""
    stay_float: tuple[str, ...] = ()
    """Operators that int8 leaves in float, as far as the installed quantizers say."""


def judge_target(anatomy: Anatomy, trial: Trial, target: Target) -> Fitness:
    """Say whether a target can run a file as it is.

    Args:
        anatomy: of the file.
        trial: of the file, on this machine.
        target: the device.
    """
    runtime = target.runtime(anatomy.format)
    if runtime is None:
        return Fitness(target.name, "no", f"it has no runtime for {anatomy.format}")
    against = [*_lacking(anatomy, runtime, target), *_too_large(trial, target)]
    known = not (anatomy.custom or anatomy.external or _free(anatomy))
    if trial.ran is False and known:
        against.append(f"it does not run on {trial.runtime} here: {trial.why}")
    if against:
        return Fitness(target.name, "no", "; ".join(against))
    if trial.ran is None:
        return Fitness(target.name, "not tried", trial.why)
    if trial.ran is False:
        return Fitness(
            target.name,
            "not tried",
            f"its free dimensions ({_free(anatomy)}) were taken as 1, and so it does not run on "
            f"{trial.runtime}: {trial.why}; export it with them fixed",
        )
    if trial.runtime == runtime.version:
        return Fitness(target.name, "yes", f"it runs on {trial.runtime} here")
    return Fitness(
        target.name, "yes", f"it runs on {trial.runtime} here, and {runtime.version} loads its kind"
    )


def judge_build(
    anatomy: Anatomy,
    refuse: Callable[[], str],
    emit: Callable[[], str],
    stay_float: Callable[[Format], Iterable[str]],
) -> tuple[Buildable, ...]:
    """Say what ``edge-convert build`` could make of a file.

    Args:
        anatomy: of the file.
        refuse: reads it as a build does; returns why that cannot be, else nothing.
        emit: tries to say an ONNX model in TFLite; returns why it cannot, else nothing.
        stay_float: returns which operators a format's quantizer leaves in float.
    """
    refusal = _not_a_source(anatomy) or refuse()
    if refusal:
        return tuple(Buildable(form, False, refusal) for form in _FORMATS)
    if anatomy.format == "tflite":
        return (
            Buildable("onnx", False, "no ONNX is made from TFLite; give the model's own export"),
            Buildable("tflite", True, "quantized as it is", tuple(stay_float("tflite"))),
        )
    try:
        left = tuple(stay_float("onnx"))
    except ModelRefused as error:
        return tuple(Buildable(form, False, str(error)) for form in _FORMATS)
    onnx = Buildable("onnx", True, "simplified, then quantized", left)
    cannot = emit()
    if cannot:
        return onnx, Buildable("tflite", False, f"not directly: {cannot}")
    return onnx, Buildable("tflite", True, "emitted directly", tuple(stay_float("tflite")))


_FORMATS: Final[tuple[Format, ...]] = ("onnx", "tflite")


def _not_a_source(anatomy: Anatomy) -> str:
    """Return why a file is nothing to build from, empty where it is."""
    opset = anatomy.opsets.get("ai.onnx", MIN_OPSET)
    names = ", ".join(t.name for t in anatomy.inputs) or "none"
    reasons = (
        (anatomy.is_quantized, f"it is quantized already ({anatomy.precision}); {PACK}"),
        (anatomy.external, f"its weights are in {_list(anatomy.external)}; save it as one file"),
        (anatomy.custom, f"custom operators: {_list(anatomy.custom)}"),
        (anatomy.control_flow, f"control flow ({_list(anatomy.control_flow)}); export it without"),
        (anatomy.stateful, f"it keeps a state ({_list(anatomy.stateful)}); {PACK}"),
        (len(anatomy.inputs) != 1, f"{len(anatomy.inputs)} inputs ({names}), expected one"),
        (opset < MIN_OPSET, f"opset {opset}, expected {MIN_OPSET} or newer; export it anew"),
    )
    return next((reason for holds, reason in reasons if holds), "")


def _lacking(anatomy: Anatomy, runtime: Runtime, target: Target) -> list[str]:
    """Return what speaks against a file on a runtime, from its structure alone."""
    found = []
    if anatomy.external:
        found.append(
            f"its weights are in {_list(anatomy.external)}, a bundle holds one model file: save it "
            "as one"
        )
    if anatomy.custom:
        found.append(f"custom operators, which {runtime.version} lacks: {_list(anatomy.custom)}")
    versions = (
        ("IR", anatomy.ir, runtime.max_ir),
        ("opset", anatomy.opsets.get("ai.onnx"), runtime.max_opset),
    )
    for what, number, most in versions:
        if number and most and number > most:
            found.append(
                f"{what} {number}, {runtime.version} (Python {target.python}) loads up to {most}: "
                "`edge-convert build` lowers it"
            )
    return found


def _too_large(trial: Trial, target: Target) -> list[str]:
    if not trial.memory_bytes or not target.memory_bytes:
        return []
    if trial.memory_bytes <= MEMORY_SHARE * target.memory_bytes:
        return []
    takes, has = trial.memory_bytes >> 20, target.memory_bytes >> 20
    return [f"it takes {takes} MiB of memory, more than half of {has} MiB"]


def _free(anatomy: Anatomy) -> str:
    """Return the names of dimensions beside the batch that the file leaves open."""
    free = {n for t in anatomy.inputs for n in (t.shape or ())[1:] if isinstance(n, str)}
    return ", ".join(sorted(free))


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
