"""Kinds of TFLite operators: what their options are called, and which version has int8.

A version that a runtime does not know is refused by it; one that is too old for a type is what
converters have always avoided, so each is the first that takes int8 where one does.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file says of an operator beside its tensors."""

    options: str = ""
    """Name in the schema; empty where it has none."""
    version: int = 1
    most: int = 6
    """Dimensions that every runtime takes; XNNPACK refuses a file with more than six."""


KINDS: Final[dict[str, Kind]] = {
    "ABS": Kind("AbsOptions", 2),
    "ADD": Kind("AddOptions", 2),
    "ARG_MAX": Kind("ArgMaxOptions", 2),
    "AVERAGE_POOL_2D": Kind("Pool2DOptions", 2),
    "BATCH_MATMUL": Kind("BatchMatMulOptions", 2, 5),
    "BROADCAST_TO": Kind("BroadcastToOptions", 2),
    "CAST": Kind("CastOptions"),
    "CEIL": Kind(),
    "CONCATENATION": Kind("ConcatenationOptions", 2),
    "CONV_2D": Kind("Conv2DOptions", 3),
    "COS": Kind("CosOptions"),
    "DEPTHWISE_CONV_2D": Kind("DepthwiseConv2DOptions", 3),
    "DIV": Kind("DivOptions"),
    "ELU": Kind(),
    "EQUAL": Kind("EqualOptions", 2),
    "EXP": Kind("ExpOptions"),
    "FLOOR": Kind(),
    "FULLY_CONNECTED": Kind("FullyConnectedOptions", 4),
    "GATHER": Kind("GatherOptions", 2),
    "GELU": Kind("GeluOptions"),
    "GREATER": Kind("GreaterOptions", 2),
    "GREATER_EQUAL": Kind("GreaterEqualOptions", 2),
    "HARD_SWISH": Kind("HardSwishOptions"),
    "LEAKY_RELU": Kind("LeakyReluOptions", 2),
    "LESS": Kind("LessOptions", 2),
    "LESS_EQUAL": Kind("LessEqualOptions", 2),
    "LOG": Kind(),
    "LOGICAL_AND": Kind("LogicalAndOptions"),
    "LOGICAL_NOT": Kind("LogicalNotOptions"),
    "LOGICAL_OR": Kind("LogicalOrOptions"),
    "LOGISTIC": Kind("", 2),
    "LOG_SOFTMAX": Kind("LogSoftmaxOptions", 2),
    "MAXIMUM": Kind("MaximumMinimumOptions", 2),
    "MAX_POOL_2D": Kind("Pool2DOptions", 2),
    "MEAN": Kind("ReducerOptions", 2),
    "MINIMUM": Kind("MaximumMinimumOptions", 2),
    "MIRROR_PAD": Kind("MirrorPadOptions", 2, 5),
    "MUL": Kind("MulOptions", 2),
    "NEG": Kind("NegOptions"),
    "PAD": Kind("PadOptions", 2),
    "PADV2": Kind("PadV2Options", 2, 5),
    "POW": Kind("PowOptions"),
    "PRELU": Kind(),
    "REDUCE_MAX": Kind("ReducerOptions", 2),
    "REDUCE_MIN": Kind("ReducerOptions", 2),
    "REDUCE_PROD": Kind("ReducerOptions"),
    "RELU": Kind("", 2),
    "RELU6": Kind("", 2),
    "RELU_N1_TO_1": Kind(),
    "RESHAPE": Kind("ReshapeOptions"),
    "RESIZE_BILINEAR": Kind("ResizeBilinearOptions", 3),
    "RESIZE_NEAREST_NEIGHBOR": Kind("ResizeNearestNeighborOptions", 3),
    "ROUND": Kind(),
    "RSQRT": Kind("", 2),
    "SELECT_V2": Kind("SelectV2Options"),
    "SIGN": Kind("SignOptions"),
    "SIN": Kind(),
    "SOFTMAX": Kind("SoftmaxOptions", 2),
    "SPLIT": Kind("SplitOptions", 2),
    "SPLIT_V": Kind("SplitVOptions", 2),
    "SQRT": Kind(),
    "SQUARED_DIFFERENCE": Kind("SquaredDifferenceOptions", 2),
    "STRIDED_SLICE": Kind("StridedSliceOptions", 2, 5),
    "SUB": Kind("SubOptions", 3),
    "SUM": Kind("ReducerOptions", 2),
    "TANH": Kind("", 2),
    "TILE": Kind("TileOptions"),
    "TRANSPOSE": Kind("TransposeOptions", 2),
    "TRANSPOSE_CONV": Kind("TransposeConvOptions", 3),
}
