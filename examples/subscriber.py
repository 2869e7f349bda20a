"""An independent subscriber: plain paho, nothing of Edgeward's, only the topics and the JSON.

It prints some predictions on stderr as they come. For each line that it reads on stdin it prints
what it has counted so far as one JSON line on stdout; it ends when stdin does.

    python examples/subscriber.py 127.0.0.1 1883
"""

import json
import sys
import threading
import time
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

EVERY_S = 1.5
"""At most one prediction of a device is shown in so many seconds."""


class Counter:
    """Counts what it sees; nothing is assumed of who sends it."""

    def __init__(self) -> None:
        self.chunk_bytes = 0
        self.devices: dict[str, dict[str, Any]] = {}
        self._seen: dict[tuple[str, str], set[int]] = {}
        self._shown: dict[str, float] = {}
        self._lock = threading.Lock()

    def on_message(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        """Take a chunk or a prediction."""
        parts = message.topic.split("/")
        with self._lock:
            if parts[2] == "blob":
                self.chunk_bytes += len(message.payload)
            else:
                self._count(parts[3], json.loads(message.payload))

    def snapshot(self) -> dict[str, Any]:
        """Return all counts: gaps are numbers from 0 to the last that never came."""
        with self._lock:
            devices = []
            for name, device in sorted(self.devices.items()):
                streams = [numbers for (of, _), numbers in self._seen.items() if of == name]
                gaps = sum(max(numbers) + 1 - len(numbers) for numbers in streams)
                devices.append({"device": name, **device, "gaps": gaps})
            return {"devices": devices, "chunk_bytes": self.chunk_bytes}

    def _count(self, name: str, prediction: dict[str, Any]) -> None:
        device = self.devices.setdefault(
            name, {"versions": [], "predictions": 0, "doubles": 0, "lost_samples": 0}
        )
        numbers = self._seen.setdefault(
            (name, f"{prediction['boot']}/{prediction['stream']}/{prediction['model']['name']}"),
            set(),
        )
        if prediction["seq"] in numbers:
            device["doubles"] += 1
            return
        numbers.add(prediction["seq"])
        device["predictions"] += 1
        device["lost_samples"] += prediction["lost_samples"]
        version = prediction["model"]["version"]
        changed = device["versions"][-1:] != [version]
        if changed:
            device["versions"].append(version)
        if changed or time.monotonic() - self._shown.get(name, 0.0) > EVERY_S:
            self._shown[name] = time.monotonic()
            sys.stderr.write(
                f"{name}  {prediction['t'][11:]}  {prediction['label']:<5} "
                f"{prediction['score']:.2f}  by {prediction['model']['name']} {version}  "
                f"seq {prediction['seq']}{'  <- version changed' if changed else ''}\n"
            )
            sys.stderr.flush()


def main() -> None:
    """Subscribe, and answer on stdout for each line on stdin."""
    host, port = sys.argv[1], int(sys.argv[2])
    counter, ready = Counter(), threading.Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_message = counter.on_message
    client.on_subscribe = lambda *_: ready.set()
    client.connect(host, port)
    client.loop_start()
    client.subscribe([("edge/v1/dev/+/pred/#", 1), ("edge/v1/blob/+/c/+", 1)])
    if not ready.wait(10):
        sys.exit(f"no broker at {host}:{port}")
    for _line in sys.stdin:
        print(json.dumps(counter.snapshot()), flush=True)
    client.disconnect()
    client.loop_stop()


if __name__ == "__main__":
    main()
