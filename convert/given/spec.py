"""The TOML that says what a model is for; its tables are the manifest's own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec import Struct

from edge_bundle.errors import ConfigError
from edge_bundle.features.steps import Step, form_after
from edge_bundle.manifest import Classification, Limits, Requires, State, Stream
from edge_bundle.positions import Path_
from edge_bundle.toml import Document, convert_toml, read_toml, show_path


class Spec(Struct, frozen=True, forbid_unknown_fields=True):
    """What the one who trained the model knows and the model file does not say."""

    stream: Stream | None = None
    """None: the model takes prepared tensors as they are."""
    decision: Classification | None = None
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
    spec = convert_toml(document, Spec)
    channels = [c.name for c in spec.stream.channels] if spec.stream else []
    labels = spec.decision.labels if spec.decision else ()
    for path, names in ((("stream", "channels"), channels), (("decision", "labels"), labels)):
        if twice := sorted({n for n in names if list(names).count(n) > 1}):
            raise document.error(path, f"{twice[0]!r} is there twice")
    for number in range(len(spec.features)):
        if spec.stream is None:
            raise document.error(
                ("features", number), "works on the windows of a stream, and there is no [stream]"
            )
        try:
            form_after(spec.features[: number + 1], spec.stream.form)
        except ValueError as error:
            message = str(error).removeprefix(f"features[{number}]: ")
            raise document.error(("features", number), message) from None
    return SpecFile(spec, document)
