"""What was seen of a TFLite file's tensors; what the ONNX pass saw is taken over."""

from collections.abc import Mapping, Sequence

from convert.onnx.calibration import Statistics
from convert.ranges import Seen
from convert.tflite.emission import origin
from convert.tflite.flatbuffer import activations, tensor_names
from convert.tflite.observation import observe_tflite
from convert.tflite.source import float_model
from edge_bundle.tensor import Array


def observe(data: bytes, inputs: Sequence[Array], known: Mapping[str, Seen]) -> dict[str, Seen]:
    """Return what was seen of every activation of a float file, by name.

    Args:
        data: a float file of one input tensor.
        inputs: each of the input's shape and type.
        known: what an ONNX file's tensors were on the same samples; one that has no tensor of the
            file's own name, but for a layout, is looked at in a pass of its own.
    Raises: ModelRefused: not such a file, the runtime fails, or a tensor is not finite.
    """
    model = float_model(data)
    graph = model.subgraphs[0]
    names = [tensor_names(graph)[index] for index in activations(model, graph)]
    # A name may be an ONNX tensor's own although it looks like that of another's copy.
    same = {name: {name, origin(name)} & known.keys() for name in names}
    found = {name: known[min(one)] for name, one in same.items() if len(one) == 1}
    missing = {name: Statistics(name, len(inputs)) for name in names if name not in found}
    if missing:
        for name, values in observe_tflite(data, inputs):
            if name in missing:
                missing[name].add(values)
    return found | {name: statistics.result() for name, statistics in missing.items()}
