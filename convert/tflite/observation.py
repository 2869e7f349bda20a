"""What every activation of a float file is on real inputs."""

from collections.abc import Iterable, Iterator

from ai_edge_litert.interpreter import Interpreter, OpResolverType

from convert.given.source import first_line
from convert.tflite.flatbuffer import activations, pack, tensor_names
from convert.tflite.source import float_model
from edge_bundle.errors import ModelRefused
from edge_bundle.tensor import Array, Float32Array


def observe_tflite(data: bytes, inputs: Iterable[Array]) -> Iterator[tuple[str, Float32Array]]:
    """Run a float file and give every activation's name and value, input after input.

    Weights are not among them: their range is in the file. Names are those of ``tensor_names``.

    Args:
        data: a float file of one input tensor.
        inputs: each of the input's shape and type.
    Raises: ModelRefused: not such a file, or the runtime fails.
    """
    model = float_model(data)
    graph = model.subgraphs[0]
    names = tensor_names(graph)
    seen = [(index, names[index]) for index in activations(model, graph)]
    try:
        # A delegate's nodes keep what is between them to themselves.
        interpreter = Interpreter(
            model_content=pack(model),
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
        interpreter.allocate_tensors()
        for values in inputs:
            interpreter.set_tensor(graph.inputs[0], values)
            interpreter.invoke()
            for index, name in seen:
                yield name, interpreter.get_tensor(index)
    except (RuntimeError, ValueError) as error:
        raise ModelRefused(f"ai-edge-litert cannot observe it: {first_line(error)}") from None
