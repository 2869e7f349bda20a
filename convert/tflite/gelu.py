"""GELU found where exporters write it as several operators; TFLite has one for it.

What a few operators of scalars compute is compared with GELU's values, whatever their order is.
Source: Hendrycks and Gimpel, x P(X <= x), and its approximation by tanh.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from convert.tflite.onnx_graph import Graph, Node

Row = NDArray[np.float64]
ERF: Final = np.vectorize(math.erf)
FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "Add": np.add,
    "Div": np.divide,
    "Erf": ERF,
    "Identity": np.positive,
    "Mul": np.multiply,
    "Pow": np.power,
    "Sub": np.subtract,
    "Tanh": np.tanh,
}
POINTS: Final = np.linspace(-5, 5, 41)
EXACT: Final = POINTS * (1 + ERF(POINTS / math.sqrt(2))) / 2
NEAR: Final = POINTS * (1 + np.tanh(math.sqrt(2 / math.pi) * (POINTS + 0.044715 * POINTS**3))) / 2
TOLERANCE: Final = 1e-5
"""A fiftieth of what the two differ by."""
BEFORE, AFTER = 8, 4
"""How many operators lie between the input and tanh, and between it and the result."""


def fuse_gelus(graph: Graph) -> Graph:
    """Return the graph with a node ``Gelu`` for each of its forms in several nodes."""
    makers = {name: node for node in graph.nodes for name in node.outputs}
    found: dict[str, Node] = {}
    for node in graph.nodes:
        if node.operator in {"Erf", "Tanh"}:
            last = _match(graph, makers, node)
            if last is not None:
                found[last.outputs[0]] = last
    if not found:
        return graph
    kept = []
    needed = {port.name for port in graph.outputs}
    for node in reversed(graph.nodes):
        chosen = found.get(node.outputs[0], node)
        if needed.intersection(chosen.outputs):
            needed.update(chosen.inputs)
            kept.append(chosen)
    return replace(graph, nodes=tuple(kept[::-1]))


def _match(graph: Graph, makers: Mapping[str, Node], middle: Node) -> Node | None:
    """Return the node that gives a GELU around tanh or erf, turned into one."""
    sources = list(_behind(graph, makers, middle))
    last = middle
    for _ in range(AFTER):
        users = [node for node in graph.nodes if last.outputs[0] in node.inputs]
        if len(users) != 1 or users[0].operator not in FUNCTIONS:
            return None
        last = users[0]
        for source in sources:
            values = _values(graph, makers, last.outputs[0], {source: POINTS})
            for form, expected in (("none", EXACT), ("tanh", NEAR)):
                if values is not None and np.allclose(values, expected, rtol=0, atol=TOLERANCE):
                    attributes = {"approximate": form}
                    return replace(last, operator="Gelu", inputs=(source,), attributes=attributes)
    return None


def _behind(graph: Graph, makers: Mapping[str, Node], node: Node) -> Iterator[str]:
    """Yield the activations that lead to a node, the nearest first."""
    front = [node]
    for _ in range(BEFORE):
        names = dict.fromkeys(name for n in front for name in n.inputs)
        names = {name: None for name in names if name and name not in graph.constants}
        yield from names
        front = [makers[name] for name in names if name in makers]


def _values(
    graph: Graph, makers: Mapping[str, Node], name: str, known: dict[str, Row]
) -> Row | None:
    """Return a tensor's values at the points; None where it is no function of scalars and them."""
    if name in known:
        return known[name]
    constant, maker = graph.constants.get(name), makers.get(name)
    if constant is not None:
        return np.asarray(constant, np.float64).reshape(-1) if constant.size == 1 else None
    # More of them than this is no GELU.
    if maker is None or maker.operator not in FUNCTIONS or len(known) > BEFORE + AFTER + 1:
        return None
    operands = [_values(graph, makers, given, known) for given in maker.inputs]
    if any(operand is None for operand in operands):
        return None
    with np.errstate(all="ignore"):
        known[name] = np.asarray(FUNCTIONS[maker.operator](*operands), np.float64)
    return known[name]
