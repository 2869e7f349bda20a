"""The signature by which newer tools find a file's inputs and outputs."""

from typing import Any, Final

from convert.tflite import schema
from convert.tflite.flatbuffer import pack, tensor_names, unpack

KEY: Final = "serving_default"


def add_signature(data: bytes) -> bytes:
    """Return the file with a signature of its inputs and outputs, unchanged if it has one.

    Raises: ModelRefused: not a TFLite file, or a damaged one.
    """
    model = unpack(data)
    return data if model.signatureDefs else pack(sign(model))


def sign(model: Any) -> Any:
    """Give a model the signature ``serving_default``, named by its tensors."""
    graph = model.subgraphs[0]
    names = tensor_names(graph)
    signature = schema.SignatureDefT()
    signature.signatureKey = KEY.encode()
    signature.subgraphIndex = 0
    signature.inputs = [_entry(index, names) for index in graph.inputs]
    signature.outputs = [_entry(index, names) for index in graph.outputs]
    model.signatureDefs = [signature]
    return model


def _entry(index: int, names: list[str]) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = names[index].encode(), index
    return entry
