"""Findings of builds as they happen: made up, but with figures that fit together."""

import hashlib
from typing import Any

import msgspec
import numpy as np

from convert.findings import (
    Candidate,
    Confusion,
    Damage,
    Dataset,
    Difference,
    Findings,
    Interval,
    Product,
    Score,
    Verdict,
)

WORDS = (
    *("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes"),
    *("silence", "unknown"),
)
SAMPLES = 900


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def score(right: int, samples: int = SAMPLES) -> Score:
    """Wilson's interval."""
    p, z = right / samples, 1.96
    middle = (p + z * z / 2 / samples) / (1 + z * z / samples)
    half = z * np.sqrt(p * (1 - p) / samples + z * z / 4 / samples**2) / (1 + z * z / samples)
    return Score(p, Interval(float(middle - half), min(1.0, float(middle + half))), samples)


def difference(worse: int, better: int, max_drop: float = 0.01) -> Difference:
    value = (better - worse) / SAMPLES
    half = 1.96 * float(np.sqrt(worse + better)) / SAMPLES
    p = 1.0 if worse == better else 0.25
    interval = Interval(value - half, value + half)
    flips = worse + better + 3
    within, proven = (least >= -max_drop for least in (value, interval.low))
    return Difference(value, interval, worse, better, flips, p, within, proven)


def int8(
    recipe: str, verdict: Verdict, why: str, size: int, ratio: float, db: float, **more: Any
) -> Candidate:
    fields: dict[str, Any] = {
        "format": "onnx",
        "precision": "int8",
        "sha256": digest(recipe),
        "latency_us": 260 * ratio,
    }
    return Candidate(
        recipe=recipe,
        verdict=verdict,
        why=why,
        bytes=size,
        latency_ratio=ratio,
        sqnr_db=db,
        **(fields | more),
    )


def confuse(labels: int, samples: int, right: int, worse: int, better: int) -> Confusion:
    """Return the answers of float, which has so many right, and of a model that moved a few."""
    random = np.random.default_rng(labels)
    truth = random.integers(0, labels, samples)
    order = random.permutation(samples)
    before = truth.copy()
    before[order[right:]] += random.integers(1, labels, samples - right)
    after = before.copy()
    after[order[:worse]] += random.integers(1, labels, worse)
    after[order[right : right + better]] = truth[order[right : right + better]]
    counts = []
    for answers in (before % labels, after % labels):
        matrix = np.zeros((labels, labels), int)
        np.add.at(matrix, (truth, answers), 1)
        counts.append(tuple(tuple(row) for row in matrix.tolist()))
    names = WORDS if labels == len(WORDS) else tuple(f"type {i:03}" for i in range(labels))
    return Confusion(names, *counts)


def damages(nodes: int, kept: int = 0) -> tuple[Damage, ...]:
    random = np.random.default_rng(7)
    kinds = "Conv", "Gemm", "Add", "Relu", "DepthwiseConv"
    spread = np.sort(random.gamma(9.0, 4.5, nodes))
    return tuple(
        Damage(
            f"/backbone/blocks.{i // 5}/{kinds[i % 5].lower()}_{i}/{kinds[i % 5]}",
            kinds[i % 5],
            None if kinds[i % 5] == "Relu" else round(float(db), 2),
            int(random.integers(0, 9000)),
            i < kept,
        )
        for i, db in enumerate(spread.tolist())
    )


def keyword_spotting() -> Findings:
    full = score(824)
    return Findings(
        name="kws",
        version="1.2.0",
        source="kws_ref_model.onnx",
        source_sha256=digest("kws"),
        float_bytes=102_635,
        target="raspberry-pi-4",
        measured_on="x86-64, 2 cores; onnxruntime 1.26.0, ai-edge-litert 2.1.6",
        metric="accuracy",
        calibration=Dataset("kws_calibration.npz", digest("c"), 100),
        evaluation=Dataset("kws_evaluation.npz", digest("e"), 1200),
        search_samples=300,
        holdout_samples=SAMPLES,
        max_drop=0.01,
        float_score=full,
        evaluations=3,
        chosen="onnx-int8",
        candidates=(
            Candidate(
                "onnx",
                "float",
                "as given, canonical",
                "behind",
                "An int8 model keeps the budget and is smaller and faster.",
                102_635,
                digest("float"),
                260.0,
                1.0,
                None,
                full,
            ),
            int8(
                "static QDQ U8S8 per-channel, least-squares ranges, all operators",
                "chosen",
                "Smallest of the ONNX models that keep the budget and are no slower than float.",
                44_800,
                0.57,
                30.1,
                score=score(823),
                difference=difference(5, 4),
            ),
            int8(
                "static QDQ U8S8 per-channel, min-max ranges, all operators",
                "behind",
                "As large and as fast, but 1.7 dB further from float.",
                44_800,
                0.58,
                28.4,
            ),
            int8(
                "static QDQ U8S8 per-channel, percentile ranges, all operators",
                "missed",
                "Lost 2.1 points; 1.0 are allowed.",
                44_800,
                0.57,
                21.7,
                score=score(805),
                difference=difference(31, 12),
            ),
            int8(
                "static QDQ U8S8 per-channel, least-squares ranges, Conv and Gemm only",
                "behind",
                "Nearer to float, but larger and slower than the chosen one.",
                46_912,
                0.81,
                32.9,
            ),
            int8(
                "static QOperator U8S8 per-channel, least-squares ranges",
                "behind",
                "As near to float, but slower.",
                41_200,
                0.66,
                30.0,
            ),
            int8(
                "dynamic, MatMul and Conv",
                "slower",
                "11.40 of float's time: onnxruntime's dynamic convolution is slow.",
                45_310,
                11.4,
                27.2,
                precision="dynamic",
            ),
            int8(
                "float16 with float32 inputs and outputs",
                "slower",
                "1.31 of float's time on this target.",
                57_204,
                1.31,
                71.3,
                precision="fp16",
            ),
            int8(
                "static int8 per-channel, least-squares ranges",
                "chosen",
                "Smallest TFLite model that keeps the budget.",
                46_048,
                0.49,
                30.0,
                format="tflite",
                score=score(822),
                difference=difference(6, 4),
            ),
            int8(
                "static int8 per-channel, moving-average ranges",
                "behind",
                "As large and as fast, but 11.5 dB further from float.",
                46_048,
                0.49,
                18.6,
                format="tflite",
            ),
            int8(
                "int16 activations, int8 weights",
                "slower",
                "41.00 of float's time.",
                47_104,
                41.0,
                52.5,
                format="tflite",
            ),
            Candidate(
                "onnx",
                "int8",
                "static QDQ S8S8 per-channel, least-squares ranges",
                "not tried",
                "S8S8 is slow on this machine, and the target runs U8S8 as well.",
            ),
        ),
        explanations=(
            "The graph was simplified by onnxslim; the largest difference of outputs is 2.4e-7.",
            "Ranges come from 100 calibration samples; least squares was nearest to float.",
            "U8S8 was taken, as S8S8 is slow on this machine.",
            "The interval of the difference is within the budget, so no node had to stay in float.",
        ),
        products=(
            Product("kws-1.2.0-onnx-int8.bundle", "onnx-int8", digest("1"), 44_800, 118_331),
            Product("kws-1.2.0-tflite-int8.bundle", "tflite-int8", digest("2"), 46_048, 119_502),
        ),
        sensitivity=damages(14),
        confusion=confuse(12, SAMPLES, 824, 5, 4),
    )


def nothing_met() -> Findings:
    found = keyword_spotting()
    missed = tuple(
        int8(
            f"static QDQ U8S8 per-channel, least-squares ranges, {kept} nodes in float",
            "missed",
            f"Lost {(worse - 6) / 9:.1f} points; 0.25 are allowed.",
            44_800 + 9000 * kept,
            0.6 + 0.1 * kept,
            14.0 + 2.5 * kept,
            score=score(824 - worse + 6),
            difference=difference(worse, 6, 0.0025),
            float_nodes=tuple(d.node for d in damages(14)[:kept]),
        )
        for kept, worse in ((0, 96), (1, 61), (3, 44), (4, 33))
    )
    failed = Candidate(
        "tflite",
        "int8",
        "static int8 per-channel, least-squares ranges",
        "failed",
        "GridSample cannot be converted to TFLite.",
    )
    return msgspec.structs.replace(
        found,
        chosen=None,
        products=(),
        candidates=(*missed, failed),
        max_drop=0.0025,
        sensitivity=damages(14, 4),
    )


def keep_float() -> Findings:
    found = keyword_spotting()
    kept = Candidate(
        "onnx",
        "float",
        "as given, canonical",
        "kept",
        "No int8 or fp16 model is faster than float on this target.",
        230_444,
        digest("float"),
        8_310.0,
        1.0,
    )
    slower = int8(
        "static QDQ U8S8 per-channel, all operators",
        "slower",
        "1.42 of float's time.",
        98_112,
        1.42,
        17.0,
    )
    return msgspec.structs.replace(
        found,
        name="basic-pitch",
        source="nmp.onnx",
        float_bytes=230_444,
        metric="notes:f1",
        chosen="onnx-float",
        candidates=(slower, kept),
        search_samples=0,
        evaluations=1,
        products=(
            Product("basic-pitch-1.2.0-onnx-float.bundle", "onnx-float", digest("3"), 230_444, 9),
        ),
        sensitivity=(),
        confusion=None,
    )


def agreement() -> Findings:
    """File types by content, without labels."""
    found = keyword_spotting()
    same, samples = 2_993, 3_000
    drop = (same - samples) / samples
    low = score(same, samples)
    chosen = int8(
        "static QDQ U8S8 per-channel, least-squares ranges, MatMul and Gemm only",
        "chosen",
        "Smallest that keeps the budget.",
        812_334,
        0.44,
        33.5,
        latency_us=3_652.0,
        score=low,
        difference=Difference(
            drop, Interval(low.interval.low - 1, low.interval.high - 1), 7, 0, 7, None, True, True
        ),
    )
    missed = int8(
        "static QDQ U8S8 per-channel, least-squares ranges, all operators",
        "missed",
        "Agrees in 28.8 % of samples; 99.0 % are asked for.",
        801_120,
        0.41,
        3.2,
        score=score(864, 3_000),
        difference=Difference(-0.712, Interval(-0.728, -0.695), 2136, 0, 2136, None, False, False),
    )
    return msgspec.structs.replace(
        found,
        name="magika",
        source="standard_v3_3.onnx",
        float_bytes=3_051_200,
        metric="agreement with float",
        float_score=Score(1.0, Interval(1.0, 1.0), samples),
        holdout_samples=samples,
        search_samples=500,
        candidates=(missed, chosen),
        sensitivity=damages(300, 3),
        confusion=confuse(214, samples, samples, samples - same, 0),
    )


def one_candidate() -> Findings:
    found = keyword_spotting()
    return msgspec.structs.replace(
        found,
        candidates=(found.candidates[1],),
        products=found.products[:1],
        explanations=(),
        calibration=None,
        sensitivity=(),
        confusion=None,
    )


CASES = {
    "kws": keyword_spotting,
    "nothing": nothing_met,
    "float": keep_float,
    "agreement": agreement,
    "one": one_candidate,
}

LITERALS = {"format", "precision", "verdict", "schema"}


def poison(found: Any, text: str, key: str = "") -> Any:
    """Put one text in the place of every other."""
    if isinstance(found, dict):
        return {k: poison(v, text, k) for k, v in found.items()}
    if isinstance(found, list | tuple):
        return [poison(v, text, key) for v in found]
    return text if isinstance(found, str) and key not in LITERALS else found


def poisoned(text: str) -> Findings:
    raw = poison(msgspec.to_builtins(keyword_spotting()), text)
    return msgspec.convert(raw | {"chosen": "onnx-int8"}, Findings)
