"""A manifest as bytes: the same for equal ones, and read only where its parts fit each other.

Unknown fields are ignored, so that a newer lab can speak to an older device; a wrong field is
refused by its path. No file is opened here.
"""

import re
from collections.abc import Sequence
from math import prod
from typing import Final

import msgspec

from edge_bundle.decision.fit import check_rule
from edge_bundle.decision.rules import LATER, Rule
from edge_bundle.errors import BundleRefused
from edge_bundle.features.steps import form_after
from edge_bundle.manifest import PREPARED, Manifest, Stream, Tensor, Tensors

MAX_MANIFEST_BYTES: Final = 1 << 20
OMITTED: Final = ("stream", "decision")
OMITTED_EMPTY: Final = ("state", "constants")
OMITTED_PROVENANCE: Final = ("metric", "holdout_windows", "plan_sha256", "runtime", "machine")
"""What is left out where it is None or empty, not null: it came later, and must not change the
bytes of earlier bundles."""


def encode(manifest: Manifest) -> bytes:
    """Return the manifest's bytes: the same for equal manifests."""
    document = msgspec.to_builtins(manifest)
    for table, names in ((document, OMITTED), (document["provenance"], OMITTED_PROVENANCE)):
        for name in names:
            if table[name] is None:
                del table[name]
    for name in OMITTED_EMPTY:
        if not document[name]:
            del document[name]
    for name, default in LATER.items() if manifest.decision else ():
        if document["decision"].get(name, ...) == default:
            del document["decision"][name]
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=1) + b"\n"


def decode(data: bytes) -> Manifest:
    """Read a manifest and check that it does not contradict itself.

    Raises: BundleRefused: naming the field by its path.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise BundleRefused(f"manifest.json: {len(data)} bytes, at most {MAX_MANIFEST_BYTES}")
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.ValidationError as error:
        raise BundleRefused(f"manifest.json: {_by_path(str(error))}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleRefused(f"manifest.json: not JSON: {error}") from None
    check(manifest)
    return manifest


def check(manifest: Manifest) -> None:
    """Refuse a manifest whose parts do not fit each other.

    Raises: BundleRefused: naming the field, what was found and what was expected.
    """
    listed = {"model": manifest.model, "golden.file": manifest.golden.file}
    if manifest.reference:
        listed["reference.file"] = manifest.reference.file
    for path, name in listed.items():
        if name not in manifest.files:
            raise BundleRefused(f"manifest.json: {path}: {name} is not listed in files")
    _refuse_twice("tensors.outputs", [t.name for t in manifest.tensors.outputs])
    check_feedback(manifest)
    if manifest.decision:
        _check_decision(manifest, manifest.decision)
    if manifest.stream:
        _check_stream(manifest, manifest.stream)
    else:
        _check_prepared(manifest)


def check_feedback(manifest: Manifest) -> None:
    """Refuse state and constants that are not the model's, or leave no one input for the window.

    Raises: BundleRefused: naming the field.
    """
    inputs = {t.name: t for t in manifest.tensors.inputs}
    outputs = {t.name: t for t in manifest.tensors.outputs}
    filled = [*(s.input for s in manifest.state), *manifest.constants]
    _refuse_twice("state, constants", filled)
    _refuse_twice("state", [s.output for s in manifest.state])
    named = [("constants", name, inputs) for name in manifest.constants]
    for i, s in enumerate(manifest.state):
        named += [(f"state[{i}].input", s.input, inputs), (f"state[{i}].output", s.output, outputs)]
    for path, name, known in named:
        if name not in known:
            raise BundleRefused(
                f"manifest.json: {path}: {name!r}, the model has {', '.join(known)}"
            )
    for i, s in enumerate(manifest.state):
        to, of = inputs[s.input], outputs[s.output]
        if (to.shape, to.dtype) != (of.shape, of.dtype):
            raise BundleRefused(
                f"manifest.json: state[{i}]: {to.name} is {_describe(to)}, "
                f"{of.name} is {_describe(of)}"
            )
    if manifest.state and not manifest.stateful:
        raise BundleRefused("manifest.json: stateful: false, and there is state")
    if len(manifest.tensors.inputs) - len(filled) != 1:
        beside = " beside state and constants" if filled else ""
        raise BundleRefused(
            f"manifest.json: tensors.inputs: {_inputs(manifest.tensors)}, expected one{beside}"
        )
    if not manifest.given_outputs:
        raise BundleRefused("manifest.json: state: every output is fed back, expected scores")


def _check_decision(manifest: Manifest, decision: Rule) -> None:
    takes = _size(manifest.tensors.inputs[manifest.window_input])
    given = [manifest.tensors.outputs[i] for i in manifest.given_outputs]
    try:
        check_rule(decision, takes, {t.name: t.shape for t in given})
    except ValueError as error:
        raise BundleRefused(f"manifest.json: {error}") from None


def _check_stream(manifest: Manifest, stream: Stream) -> None:
    _refuse_twice("stream.channels", [c.name for c in stream.channels])
    try:
        given = form_after(manifest.features, stream.form)
    except ValueError as error:
        raise BundleRefused(f"manifest.json: {error}") from None
    values = given.rows * given.columns
    if _size(manifest.tensors.inputs[manifest.window_input]) != values:
        what = "features: a window becomes" if manifest.features else "stream: a window is"
        raise BundleRefused(
            f"manifest.json: {what} {given.rows} x {given.columns} = {values} values, the model "
            f"takes {_inputs(manifest.tensors)}"
        )


def _check_prepared(manifest: Manifest) -> None:
    if manifest.features:
        raise BundleRefused(
            "manifest.json: features: there is no stream; a prepared tensor is taken as it is"
        )
    index = manifest.window_input
    dtype = manifest.tensors.inputs[index].dtype
    if dtype not in PREPARED:
        raise BundleRefused(
            f"manifest.json: tensors.inputs[{index}].dtype: {dtype!r}, expected one of "
            f"{', '.join(sorted(PREPARED))}"
        )


def _refuse_twice(path: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise BundleRefused(f"manifest.json: {path}: {name!r} stands there twice")
        seen.add(name)


def _size(tensor: Tensor) -> int:
    return prod(tensor.shape)


def _inputs(tensors: Tensors) -> str:
    return ", ".join(f"{t.name} {'x'.join(map(str, t.shape)) or 'scalar'}" for t in tensors.inputs)


def _describe(tensor: Tensor) -> str:
    return f"{tensor.dtype} {'x'.join(map(str, tensor.shape)) or 'scalar'}"


def _by_path(message: str) -> str:
    """Turn msgspec's ``what - at `$.a.b``` into ``a.b: what``."""
    found = re.fullmatch(r"(.*) - at `(?:key` in `)?\$\.?(.*)`", message, re.DOTALL)
    return f"{found[2] or 'document'}: {found[1]}" if found else message
