"""The script that the whole agent is compared to: what somebody writes who needs no agent.

It imports the runtime, NumPy and paho, loads the model with the options that ours has, and
publishes with QoS 1 what the model says of one window after another; nothing else.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.rig import convert_watch, run_broker, write_config, write_recording

ONNX = """
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
options.enable_cpu_mem_arena = False
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
shape, kind = session.get_inputs()[0].shape, np.float32
def run(x):
    return session.run(None, {name: x})[0]
"""
TFLITE = """
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_content=model, num_threads=1)
interpreter.allocate_tensors()
given, made = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
shape, kind = given["shape"], given["dtype"]
def run(x):
    interpreter.set_tensor(given["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(made["index"])
"""
BARE = """
import json, sys, time
import numpy as np
from paho.mqtt import client as paho
file, recording, port, pause_s, count = sys.argv[1:]
with open(file, "rb") as opened:
    model = opened.read()
{runtime}
samples = np.load(recording)["values"]
client = paho.Client(paho.CallbackAPIVersion.VERSION2)
client.connect("127.0.0.1", int(port))
client.loop_start()
seq, at = 0, 0
while seq != int(count):
    time.sleep(float(pause_s))
    x = samples[at : at + 100].reshape(shape).astype(kind)
    at = (at + 50) % (len(samples) - 99)
    out = run(x)
    told = {{"seq": seq, "label": int(out.argmax()), "score": float(out.max())}}
    client.publish("bare/pred", json.dumps(told), qos=1).wait_for_publish()
    seq += 1
client.disconnect()
client.loop_stop()
"""
RUNTIMES = {"onnx": ONNX, "tflite": TFLITE}


def bare_command(
    form: str, model: Path, recording: Path, port: int, pause_s: float, count: int = -1
) -> list[str]:
    """Return the command of the bare script."""
    code = BARE.format(runtime=RUNTIMES[form])
    words = [str(model), str(recording), str(port), str(pause_s), str(count)]
    return [sys.executable, "-c", code, *words]


@contextmanager
def run_sides(
    form: str, folder: Path, samples: int, replay: str, pause_s: float, count: int = -1
) -> Iterator[tuple[int, list[str], list[str]]]:
    """Run a broker, and yield its port, the agent's command, and the bare script's.

    Both run the committed model in a format on the same noise.

    Args:
        samples: of the noise.
        replay: how the agent replays them: lines of its source.
        pause_s: of the script, between two windows.
        count: of windows that the script runs; negative for no end.
    """
    bundle = convert_watch(folder, form)
    model = folder / bundle.manifest.model
    model.write_bytes(bundle.model())
    recording = write_recording(folder / "noise.npz", samples)
    with run_broker(folder) as port:
        source = f'path = "{recording}"\n{replay}'
        agent = write_config(folder / "agent.toml", port, bundle, source)
        yield port, agent, bare_command(form, model, recording, port, pause_s, count)
