"""PyTorch's exported programs, written by its own ONNX exporter. Runs in a process of its own.

``torch.export.load`` unpickles parts of the file without PyTorch's ``weights_only``, and evaluates
symbolic expressions as Python: that is why only files that the user vouches for come here.
"""

from pathlib import Path
from typing import Any, Final

from convert.given.source import first_line
from convert.importers.fidelity import compare_with
from convert.importers.imported import Imported, explain
from convert.importers.kinds import EXPORT_PROGRAM
from edge_bundle.errors import ModelRefused
from edge_bundle.tensor import Array

OPSET: Final = 18
"""The lowest that PyTorch writes: a conversion to 17 fails for every reduction."""


def export(path: Path, trust: bool) -> Imported:  # noqa: ARG001 (no program comes here without it)
    """Return the program as ONNX, with the shapes that it was exported with.

    Raises: ModelRefused: damaged, not a program, or with operators that ONNX has not.
    """
    import torch

    try:
        program = torch.export.load(path)
    except Exception as error:  # damage makes an unpickler raise anything
        raise ModelRefused(
            f"not a program of torch.export.save that PyTorch {torch.__version__} can read: "
            f"{first_line(error)}; {EXPORT_PROGRAM}"
        ) from None
    try:
        exported = torch.onnx.export(program, dynamo=True, opset_version=OPSET, verbose=False)
        data: bytes = exported.model_proto.SerializeToString(deterministic=True)
    except Exception as error:  # the exporter's own classes are private
        raise ModelRefused(f"PyTorch cannot export it to ONNX: {explain(error)}") from None
    module = program.module()
    note = compare_with(data, "PyTorch", lambda x: _run(module, program.example_inputs, x))
    return Imported(
        data, f"PyTorch {torch.__version__}", f"torch.onnx {torch.__version__}", (note,)
    )


def _run(module: Any, example: Any, x: Array) -> list[Array]:
    """Return what the program itself makes of one input, put where its example had one."""
    import torch
    from torch.utils import _pytree as pytree

    tensor = torch.from_numpy(x)
    args, kwargs = pytree.tree_map(lambda _: tensor, example or ((tensor,), {}))
    with torch.no_grad():
        outputs = module(*args, **kwargs)
    return [output.numpy() for output in pytree.tree_leaves(outputs)]
