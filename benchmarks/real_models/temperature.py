"""NAB's machine temperature: a linear autoencoder of a day, fitted to the week before any fault.

No model is given; this makes one, with NumPy, as an ONNX file of two products. One component and
1.5 times the largest error of that week were chosen with the whole file at hand: the figures show
that the path from a table to an event works, not how good such a detector is elsewhere.
"""

import json

import msgspec
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.real_models.bench import SPECS, Bench, Played, play
from convert.given.spec import Spec, read_spec
from edge_bundle.decision.rules import Anomaly
from edge_bundle.features.steps import Standardise
from edge_bundle.table import read_table
from edge_wire.messages import Event

FILE = "realKnownCause/machine_temperature_system_failure.csv"
SPEC = "machine_temperature.toml"
DAY, HOUR = 288, 12
"""Samples."""
COMPONENTS = 1
MARGIN = 1.5
LEAST_FOUND, MOST_FALSE = 3, 2

Float64Array = npt.NDArray[np.float64]


def machine_temperature(bench: Bench) -> None:
    """Count the labelled faults with the beginning of an event in them, and events outside."""
    file = bench.recordings / "nab" / FILE
    faults = read_faults(bench)
    before = read_table(file, ["value"]).values[: faults[0].start, 0]
    mean, std = float(before.mean()), float(before.std())
    model, largest = fit((before - mean) / std)
    path = bench.folder / "machine_temperature.onnx"
    path.write_bytes(model)
    wanted = np.array([mean, std, MARGIN * largest])
    off = float(np.max(np.abs(stated(read_spec(SPECS / SPEC).spec) / wanted - 1)))
    bench.most("machine_temperature: spec off from the fit", off, 1e-3)
    begun = beginnings(play(bench.pack(path, SPEC), file))
    found = sum(any(at in fault for at in begun) for fault in faults)
    false = sum(not any(at in fault for fault in faults) for at in begun)
    bench.least("machine_temperature: faults found, of 4", found, LEAST_FOUND)
    bench.most("machine_temperature: false events, 10 weeks", false, MOST_FALSE)


def fit(values: Float64Array) -> tuple[bytes, float]:
    """Return the ONNX file of a principal component analysis, and its largest error on its data.

    Args:
        values: standardised, one after another.
    """
    days = np.lib.stride_tricks.sliding_window_view(values, DAY)[::HOUR]
    mean = days.mean(axis=0)
    basis = np.linalg.svd(days - mean, full_matrices=False)[2][:COMPONENTS]
    rebuilt = (days - mean) @ basis.T @ basis + mean
    constants = {"mean": mean, "down": basis.T, "up": basis}
    nodes = [
        helper.make_node("Sub", ["day", "mean"], ["centred"]),
        helper.make_node("MatMul", ["centred", "down"], ["code"]),
        helper.make_node("MatMul", ["code", "up"], ["back"]),
        helper.make_node("Add", ["back", "mean"], ["rebuilt"]),
    ]
    day, out = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, DAY])
        for name in ("day", "rebuilt")
    )
    weights = [
        numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "linear_autoencoder", [day], [out], weights),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data, float(((days - rebuilt) ** 2).mean(axis=1).max())


def stated(spec: Spec) -> Float64Array:
    """Return mean, deviation and threshold that the spec says."""
    assert isinstance(spec.decision, Anomaly)
    assert isinstance(spec.features[0], Standardise)
    return np.array([*spec.features[0].mean, *spec.features[0].std, spec.decision.threshold])


def read_faults(bench: Bench) -> list[range]:
    """Return the labelled faults as positions of their samples."""
    folder = bench.recordings / "nab"
    told = json.loads((folder / "windows.json").read_text("utf-8"))[FILE]
    lines = (folder / FILE).read_text("utf-8").splitlines()[1:]
    times = [line.split(",")[0] for line in lines]
    # ISO times without fractions, and windows with some: they compare as text.
    return [range(times.index(a[:19]), times.index(b[:19]) + 1) for a, b in told]


def beginnings(played: Played) -> list[int]:
    """Return the positions of the last sample of each window at which an event began."""
    return [
        made.start + DAY - 1
        for made in played.made
        for note in made.notes
        if note.kind == "event" and msgspec.json.decode(note.payload, type=Event).kind == "new"
    ]
