"""Runs one peer as its documentation says, with its defaults: ``python -m … NAME ORDER.json``.

Runs in the peer's own environment, which has no edgeward. Its last line is what came of it, JSON.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.conversion.metrics import METRICS, Array


class Work:
    """What a peer is given, and the answers of a model as its evaluation function sees them."""

    def __init__(self, order: Path) -> None:
        given = json.loads(order.read_text(encoding="utf-8"))
        self.model: str = given["model"]
        self.tflite: str = given["tflite"]
        self.out: str = given["out"]
        self.max_drop: float = given["max_drop"]
        self.metric = METRICS[given["metric"]]
        self.calibration: Array = np.load(given["calibration"])["x"]
        evaluation = np.load(given["evaluation"])
        self.x: Array = evaluation["x"]
        self.y: Array | None = evaluation.get("y")
        self.evaluations = 0
        self._reference: dict[str, Array] | None = None

    def input_name(self) -> str:
        """Return the ONNX model's only input."""
        import onnx

        model = onnx.load(self.model, load_external_data=False)
        weights = {w.name for w in model.graph.initializer}
        return next(str(i.name) for i in model.graph.input if i.name not in weights)

    def feeds(self) -> Iterator[dict[str, Array]]:
        """Give the calibration samples."""
        name = self.input_name()
        for sample in self.calibration:
            yield {name: sample[None]}

    def score(self, data: "bytes | str") -> Array:
        """Return the metric of an ONNX model, sample by sample; counted as one evaluation."""
        if self._reference is None:
            self._reference = self._answer(self.model)
        self.evaluations += 1
        return self.metric(self._answer(data), self.y, self._reference)

    def _answer(self, data: "bytes | str") -> dict[str, Array]:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        names, taken = [o.name for o in session.get_outputs()], session.get_inputs()[0].name
        found = [session.run(names, {taken: sample[None]}) for sample in self.x]
        return {
            name: np.concatenate([np.asarray(outputs[i]) for outputs in found])
            for i, name in enumerate(names)
        }


class Feeds:
    """Calibration samples as onnxruntime's quantizer and its descendants ask for them."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._left = work.feeds()

    def get_next(self) -> "dict[str, Array] | None":
        """Return the next sample, None at the end."""
        return next(self._left, None)

    def rewind(self) -> None:
        """Begin again."""
        self._left = self._work.feeds()


def onnxruntime_static(work: Work) -> str:
    """Run ``quantize_static``, pre-processed as its documentation asks, with its defaults."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    CalibrationDataReader.register(Feeds)
    quantize_static(_prepared(work), f"{work.out}/model.onnx", Feeds(work))
    return "model.onnx"


def onnxruntime_dynamic(work: Work) -> str:
    """Run ``quantize_dynamic``, pre-processed too, with its defaults."""
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(_prepared(work), f"{work.out}/model.onnx")
    return "model.onnx"


def ai_edge_static(work: Work) -> str:
    """Run the recipe ``static_wi8_ai8`` with the quantizer's own calibration."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    runner = Interpreter(work.tflite).get_signature_runner()
    ((name, details),) = runner.get_input_details().items()
    shape = [int(n) for n in details["shape"]]
    feeds = [{name: _last(x, shape)} for x in work.calibration]
    quantizing = quantizer.Quantizer(work.tflite, recipe.static_wi8_ai8())
    found = quantizing.calibrate({"serving_default": feeds})
    quantizing.quantize(found).export_model(f"{work.out}/model.tflite")
    return "model.tflite"


def ai_edge_dynamic(work: Work) -> str:
    """Run the recipe ``dynamic_wi8_afp32``."""
    from ai_edge_quantizer import quantizer, recipe

    quantizing = quantizer.Quantizer(work.tflite, recipe.dynamic_wi8_afp32())
    quantizing.quantize().export_model(f"{work.out}/model.tflite")
    return "model.tflite"


def nncf_control(work: Work) -> str:
    """Run ``quantize_with_accuracy_control`` with the same budget as ours."""
    import nncf
    import onnx

    def validate(model: Any, _items: Iterable[Any]) -> tuple[float, list[float]]:
        scores = work.score(model.SerializeToString())
        return float(scores.mean()), scores.tolist()

    calibration = nncf.Dataset(list(work.feeds()))
    validation = nncf.Dataset(list(range(len(work.x))))
    quantized = nncf.quantize_with_accuracy_control(
        onnx.load(work.model), calibration, validation, validate, max_drop=work.max_drop
    )
    onnx.save(quantized, f"{work.out}/model.onnx")
    return "model.onnx"


def neural_compressor(work: Work) -> str:
    """Run ``autotune`` over its own set of static recipes; its budget is relative, not ours."""
    import onnx
    from onnx_neural_compressor import data_reader
    from onnx_neural_compressor.quantization import config, tuning

    # Its base is asked for by name, and holds nothing.
    reader = type("Reader", (Feeds, data_reader.CalibrationDataReader), {})

    def evaluate(model: "str | onnx.ModelProto") -> float:
        return float(work.score(model if isinstance(model, str) else _bytes(model)).mean())

    wanted = config.StaticQuantConfig.get_config_set_for_tuning()
    best = tuning.autotune(
        model_input=work.model,
        tune_config=tuning.TuningConfig(config_set=wanted, tolerable_loss=work.max_drop),
        eval_fn=evaluate,
        calibration_data_reader=reader(work),
    )
    onnx.save(best, f"{work.out}/model.onnx")
    return "model.onnx"


def olive_static(work: Work) -> str:
    """Run the pass ``OnnxStaticQuantization`` with its defaults."""
    os.environ["OLIVE_DISABLE_TELEMETRY"] = "1"
    from olive.data.registry import Registry
    from olive.workflows import run

    def calibration(**_options: Any) -> list[tuple[dict[str, Array], int]]:
        name = work.input_name()
        return [({name: sample}, 0) for sample in work.calibration]

    Registry.register_dataset("edgeward_calibration")(calibration)
    run(
        {
            "input_model": {"type": "ONNXModel", "model_path": work.model},
            "data_configs": [
                {"name": "calibration", "load_dataset_config": {"type": "edgeward_calibration"}}
            ],
            "passes": {"static": {"type": "OnnxStaticQuantization", "data_config": "calibration"}},
            "output_dir": work.out,
            "cache_dir": f"{work.out}/cache",
            "log_severity_level": 3,
        }
    )
    return "model.onnx"


PEERS: dict[str, tuple[str, Callable[[Work], str]]] = {
    "onnxruntime static": ("onnxruntime", onnxruntime_static),
    "onnxruntime dynamic": ("onnxruntime", onnxruntime_dynamic),
    "ai-edge-quantizer static": ("ai-edge-quantizer", ai_edge_static),
    "ai-edge-quantizer dynamic": ("ai-edge-quantizer", ai_edge_dynamic),
    "NNCF accuracy control": ("nncf", nncf_control),
    "onnx-neural-compressor autotune": ("onnx-neural-compressor", neural_compressor),
    "Olive static": ("olive-ai", olive_static),
}
"""By the name in the table: the package that it needs, and how it is run."""


def _prepared(work: Work) -> str:
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = f"{work.out}/prepared.onnx"
    try:
        quant_pre_process(work.model, prepared)
    except Exception as error:
        # It raises plain Exceptions; for this one its own message says to skip that step.
        if "symbolic shape" not in str(error):
            raise
        quant_pre_process(work.model, prepared, skip_symbolic_shape=True)
    return prepared


def _last(sample: Array, shape: list[int]) -> Array:
    """Return a channels-first sample as the TFLite file takes it."""
    if sample.ndim == 3 and list(sample.shape) != shape[1:]:
        sample = sample.transpose(1, 2, 0)
    return np.ascontiguousarray(sample).reshape(shape)


def _bytes(model: Any) -> bytes:
    data: bytes = model.SerializeToString()
    return data


def main() -> None:
    """Run the peer and print what came of it."""
    name, order = sys.argv[1:]
    work = Work(Path(order))
    file = PEERS[name][1](work)
    print(json.dumps({"file": file, "evaluations": work.evaluations}))


if __name__ == "__main__":
    main()
