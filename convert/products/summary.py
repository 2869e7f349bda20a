"""What programs read of a build: the one object of ``--json``, whose keys docs/convert.md lists."""

from typing import Any

from convert.products.writing import Built


def summarise(built: Built) -> dict[str, Any]:
    """Return what ``--json`` prints of a build."""
    found = built.findings
    final = next(
        (
            c
            for c in found.candidates
            if f"{c.format}-{c.precision}" == found.chosen and c.verdict in {"chosen", "kept"}
        ),
        None,
    )
    difference = final.difference if final else None
    bundles = [
        {
            "file": str(path),
            "variant": product.variant,
            "sha256": product.sha256,
            "bytes": product.bytes,
            "bundle_bytes": product.bundle_bytes,
        }
        for path, product in zip(built.paths, found.products, strict=True)
    ]
    return {
        "name": found.name,
        "version": found.version,
        "chosen": found.chosen,
        "variant": found.chosen,
        "bundle": bundles[0]["file"] if bundles else None,
        "sha256": bundles[0]["sha256"] if bundles else None,
        "bundles": bundles,
        "float_bytes": found.float_bytes,
        "final_bytes": final.bytes if final else None,
        "metric": found.metric,
        "float_accuracy": found.float_score.value,
        "final_accuracy": final.score.value if final and final.score else None,
        "accuracy_difference": difference.value if difference else None,
        "accuracy_difference_interval": (
            [difference.interval.low, difference.interval.high] if difference else None
        ),
        "flips": difference.flips if difference else None,
        "proven": difference.proven if difference else None,
        "max_drop": found.max_drop,
        "evaluations": found.evaluations,
        "evaluation_windows": found.evaluation.samples,
        "holdout_windows": found.holdout_samples,
        "calibration_windows": found.calibration.samples if found.calibration else 0,
        "candidates": [
            {
                "format": c.format,
                "precision": c.precision,
                "recipe": c.recipe,
                "bytes": c.bytes,
                "latency_ratio": c.latency_ratio,
                "sqnr_db": c.sqnr_db,
                "accuracy": c.score.value if c.score else None,
                "verdict": c.verdict,
                "why": c.why,
            }
            for c in found.candidates
        ],
        "plan": str(built.plan),
        "report": str(built.report),
        "missed": list(built.missed),
    }
