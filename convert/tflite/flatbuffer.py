"""TFLite files as trees of objects, and back in few bytes.

Nothing here runs a model: what a runtime would abort on is found before one sees the file.
"""

import hashlib
from typing import Any, Final

import flatbuffers
import numpy as np

from convert.given.source import first_line
from convert.tflite import schema
from edge_bundle.errors import ModelRefused
from edge_bundle.runtimes.loader import TFLITE_MARK, guess_format

"""Bytes 4 to 7 of every TFLite file."""
ALIGNMENT: Final = 16
"""Of weights within the file, as the schema demands and its Python code forgets."""
OPERATORS: Final[dict[int, str]] = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)
}
DTYPES: Final[dict[int, str]] = {
    code: name for name, code in vars(schema.TensorType).items() if isinstance(code, int)
}


def unpack(data: bytes) -> Any:
    """Return the schema's ``ModelT``: weights inline, every operator code in ``builtinCode``.

    Raises: ModelRefused: not a TFLite file, cut off, or contradicting itself.
    """
    if guess_format(data) != "tflite":
        raise ModelRefused(f"not a TFLite file: bytes 4 to 7 are {data[4:8]!r}, expected TFL3")
    try:
        root = schema.Model.GetRootAs(data, 0)
        _check_counts(root, len(data))
        model = schema.ModelT.InitFromObj(root)
        _inline_buffers(model, data)
        _check_indices(model)
    except Exception as error:  # struct's, NumPy's and Python's own, as the damage has it
        raise ModelRefused(f"cut off or damaged TFLite file: {first_line(error)}") from None
    for code in model.operatorCodes:
        # Files from before 2020 have only the short field.
        code.builtinCode = max(code.builtinCode, code.deprecatedBuiltinCode)
    return model


def pack(model: Any) -> bytes:
    """Return a file's bytes; the same for equal models."""
    builder = _Builder(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=TFLITE_MARK)
    return bytes(builder.Output())


def operator_name(model: Any, operator: Any) -> str:
    """Return ``CONV_2D``, or the name that a custom operator has given itself."""
    code = model.operatorCodes[operator.opcodeIndex]
    if code.builtinCode == schema.BuiltinOperator.CUSTOM:
        return (code.customCode or b"custom").decode(errors="replace")
    return OPERATORS.get(code.builtinCode, f"operator {code.builtinCode}")


def tensor_names(graph: Any) -> list[str]:
    """Return a name for each tensor: the file's own where it is there and not used before."""
    names: dict[str, None] = {}
    for index, tensor in enumerate(graph.tensors):
        given = (tensor.name or b"").decode(errors="replace")
        name = given or f"tensor#{index}"
        while name in names:
            name += f"#{index}"
        names[name] = None
    return list(names)


def is_constant(model: Any, tensor: Any) -> bool:
    """Whether the file holds the tensor's values."""
    return model.buffers[tensor.buffer].data is not None


def activations(model: Any, graph: Any) -> list[int]:
    """Return the indices of the float32 tensors that depend on the input, in order of making."""
    made = [*graph.inputs, *(index for op in graph.operators for index in op.outputs)]
    return [
        int(index)
        for index in dict.fromkeys(made)
        if graph.tensors[index].type == schema.TensorType.FLOAT32
        and not is_constant(model, graph.tensors[index])
    ]


def _check_counts(root: Any, length: int) -> None:
    """Each part has its own 4 bytes in a file that does not list the same ones over and over."""
    graphs = [root.Subgraphs(n) for n in range(root.SubgraphsLength())]
    parts = sum(graph.TensorsLength() + graph.OperatorsLength() for graph in graphs)
    if not graphs or (parts + root.BuffersLength()) * 4 > length:
        raise ValueError(f"{len(graphs)} graphs of {parts} tensors and operators")


def _inline_buffers(model: Any, data: bytes) -> None:
    """Bring in the weights that a large file keeps behind its flatbuffer."""
    for buffer in model.buffers or ():
        if buffer.offset > 1:  # 1 marks an unused place
            end = buffer.offset + buffer.size
            if end > len(data):
                raise ValueError(f"weights end at byte {end} of {len(data)}")
            buffer.data = np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
        buffer.offset = buffer.size = 0
        if buffer.data is not None and not len(buffer.data):
            buffer.data = None


def _check_indices(model: Any) -> None:
    model.buffers, model.operatorCodes = model.buffers or [], model.operatorCodes or []
    for graph in model.subgraphs:
        graph.tensors, graph.operators = graph.tensors or [], graph.operators or []
        graph.inputs, graph.outputs = _indices(graph.inputs), _indices(graph.outputs)
        _check_within(graph.inputs + graph.outputs, 0, len(graph.tensors), "tensor")
        _check_within([t.buffer for t in graph.tensors], 0, len(model.buffers), "buffer")
        for operator in graph.operators:
            operator.inputs, operator.outputs = (
                _indices(operator.inputs),
                _indices(operator.outputs),
            )
            _check_within([operator.opcodeIndex], 0, len(model.operatorCodes), "operator code")
            _check_within(operator.inputs, -1, len(graph.tensors), "tensor")
            _check_within(operator.outputs, 0, len(graph.tensors), "tensor")


def _indices(values: Any) -> list[int]:
    return [] if values is None else [int(value) for value in values]


def _check_within(indices: list[int], low: int, end: int, what: str) -> None:
    for index in indices:
        if not low <= index < end:
            raise ValueError(f"{what} {index} of {end}")


class _Builder(flatbuffers.Builder):  # type: ignore[misc]  # untyped
    """Writes equal vectors of numbers, and equal texts, once.

    Mostly the zero points of symmetric weights: 8 bytes a channel, all zero.
    """

    head: int

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._written: dict[bytes, int] = {}
        self._before = 0
        self._length: int | None = None
        """Bytes of the vector being written; None where it holds offsets."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> int:  # noqa: N802, N803
        self._before, self._length = self.Offset(), elemSize * numElems
        if elemSize == 1:
            alignment = ALIGNMENT
        return int(super().StartVector(elemSize, numElems, alignment))

    def CreateString(  # noqa: N802
        self, s: str | bytes, encoding: str = "utf-8", errors: str = "strict"
    ) -> int:
        text = s.encode(encoding, errors) if isinstance(s, str) else s
        self._before, self._length = self.Offset(), len(text) + 1
        return int(super().CreateString(text))

    def PrependUOffsetTRelative(self, off: int) -> None:  # noqa: N802
        # Offsets count from where they stand: equal ones lead to different places.
        self._length = None
        super().PrependUOffsetTRelative(off)

    def EndVector(self, numElems: int | None = None) -> int:  # noqa: N802, N803
        made = int(super().EndVector(numElems))
        if self._length is None:
            return made
        written = memoryview(self.Bytes)[self.head : self.head + 4 + self._length]
        known = self._written.setdefault(hashlib.sha256(written).digest(), made)
        # A view would keep the bytes from growing.
        written.release()
        if known != made:
            self.head = len(self.Bytes) - self._before
        return known
