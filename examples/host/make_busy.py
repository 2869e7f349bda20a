"""Make a model by hand that says whether this machine is busy: no training, one threshold.

It takes ten readings of cpu_percent, memory_percent and load1, and gives idle and busy as
probabilities; they are equal where the processor was half busy on average.

    python examples/host/make_busy.py build/host

writes busy.onnx, and busy.csv with readings of which each window is one or the other.
"""

import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save_model

WINDOW, CHANNELS = 10, 3
HALF_PERCENT = 50.0
PER_PERCENT = 0.1


def make_model() -> object:
    """Return the model: the mean over time, a weight for each figure, softmax."""
    weights = np.zeros((CHANNELS, 2), np.float32)
    weights[0] = -PER_PERCENT, PER_PERCENT
    bias = np.array([PER_PERCENT * HALF_PERCENT, -PER_PERCENT * HALF_PERCENT], np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["readings"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("Gemm", ["mean", "weights", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "busy",
        [helper.make_tensor_value_info("readings", TensorProto.FLOAT, [1, WINDOW, CHANNELS])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def main() -> None:
    """Write both files."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    save_model(make_model(), folder / "busy.onnx")
    rng = np.random.default_rng(0)
    rows = ["time_s,cpu_percent,memory_percent,load1,label"]
    for reading in range(160):
        busy = reading // 10 % 2
        cpu = rng.uniform(70, 100) if busy else rng.uniform(0, 30)
        rows.append(f"{reading / 10},{cpu:.1f},40,{cpu / 50:.2f},{'busy' if busy else 'idle'}")
    (folder / "busy.csv").write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
