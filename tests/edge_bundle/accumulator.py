"""A small ONNX model whose state goes in and comes out: it adds up what it hears."""

import msgspec
import onnx
from onnx import parser

from edge_bundle.manifest import Channel, Manifest, State, Stream, Tensor, Tensors
from tests.edge_bundle.bundles import watch_manifest

WINDOW = 4
GAIN = 3
SPEC = f"""
state = [{{ input = "state", output = "stateN" }}]
constants = {{ gain = {GAIN} }}

[stream]
rate_hz = 100.0
channels = [{{ name = "mic", unit = "1" }}]
window = {WINDOW}
hop = 3
"""
# total = state + gain * sum(x). The shape of stateN is not stated, as exporters leave it.
TEXT = """
<ir_version: 8, opset_import: ["" : 15]>
accumulator (float[batch,sequence] x, float[2,batch] state, int64 gain)
    => (float[batch,1] total, float[a,b] stateN)
<int64[1] axis = {1}, int64[1] rows = {0}, float[2,1] both = {1.0, 1.0}>
{
    factor = Cast<to = 1>(gain)
    sum = ReduceSum<keepdims = 1>(x, axis)
    scaled = Mul(sum, factor)
    spread = MatMul(both, scaled)
    stateN = Add(state, spread)
    total = ReduceMean<axes = [0], keepdims = 1>(stateN)
}
"""


def accumulator() -> bytes:
    """Return the model file."""
    model = parser.parse_model(TEXT)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def accumulator_manifest(**changes: object) -> Manifest:
    """Return the manifest of the model on windows of one channel."""
    manifest = watch_manifest(
        name="accumulator",
        tensors=Tensors(
            inputs=(
                Tensor("x", (1, WINDOW), "float32"),
                Tensor("state", (2, 1), "float32"),
                Tensor("gain", (), "int64"),
            ),
            outputs=(Tensor("total", (1, 1), "float32"), Tensor("stateN", (2, 1), "float32")),
        ),
        stateful=True,
        state=(State("state", "stateN"),),
        constants={"gain": GAIN},
        stream=Stream(rate_hz=100.0, channels=(Channel("mic", "1"),), window=WINDOW, hop=3),
        decision=None,
    )
    return msgspec.structs.replace(manifest, **changes)
