"""The TOML that says what a model is for; its tables are the manifest's own."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec import Struct

from edge_bundle.decision.fit import check_parts
from edge_bundle.decision.rules import Classification, Rule
from edge_bundle.errors import ConfigError
from edge_bundle.features.steps import Misplaced, Step, form_after
from edge_bundle.manifest import Limits, Requires, State, Stream
from edge_bundle.positions import Path_
from edge_bundle.toml import Document, convert_toml, read_toml, show_path


class Spec(Struct, frozen=True, forbid_unknown_fields=True):
    """What the one who trained the model knows and the model file does not say."""

    stream: Stream | None = None
    """None: the model takes prepared tensors as they are."""
    decision: Rule | None = None
    """None: all outputs are given as they are."""
    features: tuple[Step, ...] = ()
    state: tuple[State, ...] = ()
    """What the model is given again of what it gave."""
    constants: dict[str, int | float] = {}
    """Inputs that are always filled with one number."""
    limits: Limits = Limits()
    requires: Requires = Requires()


@dataclass(frozen=True, slots=True)
class SpecFile:
    """A spec, and where each of its keys stands."""

    spec: Spec
    document: Document | None
    """None where there is no file."""

    def error(self, path: Path_, message: str) -> ConfigError:
        """Return the error for one key, to be raised."""
        if self.document is None:
            return ConfigError(f"{show_path(path)}: {message}; say it in a --spec")
        return self.document.error(path, message)


EMPTY: Final = SpecFile(Spec(), None)
"""Where no spec is given: prepared tensors in, all outputs out."""


def read_spec(file: Path) -> SpecFile:
    """Read a spec and check that its tables fit each other.

    Raises: ConfigError: beginning FILE:LINE:COL: KEY.PATH.
    """
    document = read_toml(file)
    decision = document.data.get("decision")
    if isinstance(decision, dict):
        # Once there was one kind alone, and nobody had to name it.
        decision.setdefault("kind", Classification.__struct_config__.tag)
    spec = convert_toml(document, Spec)
    channels = [c.name for c in spec.stream.channels] if spec.stream else []
    if twice := sorted({n for n in channels if channels.count(n) > 1}):
        raise document.error(("stream", "channels"), f"{twice[0]!r} is there twice")
    if spec.decision is not None:
        try:
            check_parts(spec.decision)
        except ValueError as error:
            raise place_finding(document, error) from None
    if spec.features and spec.stream is None:
        raise document.error(
            ("features", 0), "works on the windows of a stream, and there is no [stream]"
        )
    if spec.stream is not None:
        try:
            form_after(spec.features, spec.stream.form)
        except Misplaced as error:
            raise document.error(error.path, error.why) from None
    return SpecFile(spec, document)


def place_finding(file: Document | SpecFile, finding: ValueError) -> ConfigError:
    """Return the error for what a rule says is wrong, ``KEY.PATH: message``, at its place."""
    path, message = str(finding).split(": ", 1)
    parts = re.findall(r"[^.\[\]]+", path)
    return file.error(tuple(int(p) if p.isdecimal() else p for p in parts), message)
