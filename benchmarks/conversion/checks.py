"""The bounds of a case, held against its figures."""

from typing import Any

from benchmarks.conversion.cases import Case
from benchmarks.conversion.ours import Ours


def check(case: Case, ours: Ours) -> list[dict[str, Any]]:
    """Return one check for each bound; a figure that is missing has not kept its bound."""
    checks: list[dict[str, Any]] = []
    for bound in case.bounds:
        value = ours.figures.get(bound.figure)
        if value is None and not bound.required and not ours.why:
            continue
        limit = bound.least if bound.least is not None else bound.most
        found: dict[str, Any] = {
            "name": f"{case.name}_{bound.figure}",
            "value": None if value is None else float(f"{value:.6g}"),
            "bound": limit,
            "ok": value is not None and bound.keeps(value),
        }
        if ours.why:
            found["why"] = ours.why
        checks.append(found)
    return checks
