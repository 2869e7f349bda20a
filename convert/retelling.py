"""What a finished build found out, told again from what it left behind."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from convert import findings as reports
from convert.findings import Findings
from convert.products import plan as plans
from convert.report.page import render_page
from convert.report.terminal import describe
from edge_bundle.archive import read_bundle
from edge_bundle.document import encode
from edge_bundle.errors import ArtifactRefused, ConfigError
from edge_bundle.manifest import Manifest

ZIP = b"PK"
MAX_BYTES = plans.MAX_PLAN_BYTES


@dataclass(frozen=True, slots=True)
class Told:
    """An account of a build: whole from a plan or a report, short from a bundle."""

    findings: Findings | None
    manifest: Manifest | None

    def text(self) -> str:
        """Return it for a terminal, with a line's end."""
        if self.findings is not None:
            return describe(self.findings)
        assert self.manifest is not None
        return _describe(self.manifest)

    def as_json(self) -> str:
        """Return it as one JSON object."""
        if self.findings is not None:
            return msgspec.json.encode(self.findings).decode()
        assert self.manifest is not None
        document: dict[str, Any] = json.loads(encode(self.manifest))
        return json.dumps(document)

    def page(self) -> str:
        """Return it as a page.

        Raises: ConfigError: a bundle has too little for one.
        """
        if self.findings is None:
            raise ConfigError("--html: a bundle has no report in it; give the build's plan.json")
        return render_page(self.findings)


def retell(path: Path) -> Told:
    """Read a plan, a report or a bundle.

    Raises: ConfigError: no such file. ArtifactRefused: none of these.
    """
    try:
        with path.open("rb") as file:
            start = file.read(2)
            if start != ZIP:
                data = start + file.read(MAX_BYTES)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    if start == ZIP:
        return Told(None, read_bundle(path).manifest)
    try:
        return Told(reports.decode(data), None)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if b'"candidates"' in data and b'"variants"' not in data:
            raise ArtifactRefused(f"{path}: not a report: {error}") from None
        plan = plans.decode(data, str(path))
    if plan.findings is None:
        raise ArtifactRefused(f"{path}: a plan without findings")
    return Told(plan.findings, None)


def _describe(manifest: Manifest) -> str:
    made = manifest.provenance
    metric = made.metric or "accuracy"
    lines = [f"{manifest.file_name}", f"  {made.recipe}"]
    if made.final_accuracy is not None:
        judged = made.holdout_windows or made.evaluation_windows
        before = "" if made.float_accuracy is None else f"{made.float_accuracy:.2%} -> "
        lines.append(f"  {metric} {before}{made.final_accuracy:.2%} on {judged} samples")
    runtime, machine = made.runtime or "an unknown runtime", made.machine or "an unknown machine"
    lines += [
        f"  golden vectors by {runtime} on {machine}, tolerance {manifest.golden.tolerance:g}",
        f"  source sha256 {made.source_sha256}",
    ]
    if made.plan_sha256:
        lines.append(f"  plan sha256 {made.plan_sha256}")
    return "\n".join(lines) + "\n"
