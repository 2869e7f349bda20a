"""What the emitters say of a model before a build: tried on a copy, or looked up in their lists."""

from collections.abc import Iterable
from importlib.util import find_spec

import numpy as np
import onnx

from convert.given.source import first_line
from convert.inspection.anatomy import Anatomy, Format
from convert.onnx import canonical
from convert.onnx.folding import fold_batch_norm, simplify
from edge_bundle.errors import ModelRefused, RuntimeMissing


def direct_tflite_refusal(data: bytes) -> str:
    """Return why an ONNX model cannot be said directly in TFLite; empty where it can."""
    try:
        _emit(data)
    except ImportError:
        return "ai-edge-litert is not installed: pip install 'edgeward[convert-tflite]'"
    except ModelRefused as error:
        return str(error)
    return ""


def floats_left(data: bytes, anatomy: Anatomy, form: Format) -> tuple[str, ...]:
    """Return the operators that a format's quantizer has no int8 for; empty where it is missing.

    Args:
        data: the source model.
        anatomy: of the source model.
        form: that would be built.
    Raises: ModelRefused: it cannot be brought into the form that the quantizer takes.
    """
    if form == "onnx":
        from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

        names = {node.op_type for node in _plain(data).graph.node}
        return _others(names, {*QDQRegistry, *QLinearOpsRegistry})
    if find_spec("ai_edge_quantizer") is None:
        return ()
    from ai_edge_quantizer.qtyping import TFLOperationName

    from convert.inspection.tflite_anatomy import read_tflite

    emitted = anatomy if anatomy.format == "tflite" else read_tflite(_emit(data))
    names = {o.name for o in emitted.operators}
    return _others(names, {str(name.value) for name in TFLOperationName})


def _others(names: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names) - set(known)))


def _emit(data: bytes) -> bytes:
    """Return the TFLite file that is emitted directly.

    Raises: ModelRefused: naming the operators. ImportError: no ai-edge-litert.
    """
    from convert.tflite.emission import emit_tflite

    return emit_tflite(canonical.to_bytes(_plain(data)))


def _plain(data: bytes) -> onnx.ModelProto:
    """Bring a model into the form that a build gives its emitters, with no sample to prove it on.

    Raises: ModelRefused: where a step fails. RuntimeMissing: onnxslim is not installed.
    """
    try:
        with np.errstate(all="ignore"):  # or odd weights would speak on the user's screen
            return _simplified(onnx.load_model_from_string(data))
    except ImportError as error:
        raise RuntimeMissing(f"{error}: pip install 'edgeward[convert]'") from None
    except Exception as error:  # onnx and onnxslim raise what they like on an odd graph
        raise ModelRefused(first_line(error)) from None


def _simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    free = canonical.inline_functions(model)
    for value in (*free.graph.input, *free.graph.output):
        for dimension in value.type.tensor_type.shape.dim:
            dimension.dim_value = max(1, dimension.dim_value)
    del free.graph.value_info[:]  # may still speak of a free batch
    real = onnx.TensorProto.FLOAT
    outputs = (o.name for o in free.graph.output if o.type.tensor_type.elem_type == real)
    model = canonical.keep_outputs(canonical.lift_constants(free), tuple(outputs))
    model = canonical.bound_versions(canonical.lower_scalers(model))
    return canonical.name_nodes(fold_batch_norm(simplify(model)))
