"""Bytes of a manifest: strict on what they know, silent on what not, never contradictory."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_bundle.decision.rules import (
    Anchors,
    Anomaly,
    Classification,
    Detection,
    Events,
    Every,
    Quantity,
    Regression,
    Rule,
    Score,
    Smoothing,
)
from edge_bundle.document import MAX_MANIFEST_BYTES, decode, encode
from edge_bundle.errors import BundleRefused
from edge_bundle.features.form import MAX_VALUES
from edge_bundle.features.steps import Standardise, Statistics
from edge_bundle.manifest import (
    PREPARED,
    Channel,
    Golden,
    Limits,
    Manifest,
    Member,
    Provenance,
    Reference,
    Requires,
    Stream,
    Tensor,
    Tensors,
)
from tests.edge_bundle.bundles import LABELS, STREAM, prepared_manifest, watch_manifest


def changed(path: str, value: object) -> bytes:
    """Return the example's JSON with one field set, ``stream.channels.0.name`` for instance."""
    document = json.loads(encode(watch_manifest()))
    *above, last = path.split(".")
    table: Any = document
    for part in above:
        table = table[int(part) if part.isdigit() else part]
    table[last] = value
    return json.dumps(document).encode()


def test_example_is_accepted_and_names_its_file() -> None:
    manifest = decode(encode(watch_manifest()))
    assert manifest == watch_manifest()
    assert manifest.file_name == "watch-1.0.0-onnx-float.bundle"
    assert manifest.scores_outputs == (1,)


@pytest.mark.parametrize(
    ("path", "value", "shown"),
    [
        ("schema", 2, "schema: "),
        ("name", "Watch", "name: "),
        ("name", "watch\n", "name: "),
        ("name", "../watch", "name: "),
        ("version", "1.0", "version: "),
        ("version", "1.0.0\n", "version: "),
        ("version", "1.0.\u0663", "version: "),
        ("version", "1.0.0-" + "a" * 200, "version: "),
        ("variant", "", "variant: "),
        ("format", "pytorch", "format: "),
        ("model", "/etc/passwd", "model: "),
        ("model", "model.onnx\n", "model: "),
        ("files", {"model.onnx\n": {"sha256": "0" * 64, "length": 1}}, "files: "),
        ("stream.rate_hz", 0, "stream.rate_hz: "),
        ("stream.rate_hz", None, "stream.rate_hz: "),
        ("stream.window", 0, "stream.window: "),
        ("stream.hop", 1.5, "stream.hop: "),
        ("stream.channels", [], "stream.channels: "),
        ("stream.channels.2.unit", 7, "stream.channels[2].unit: "),
        ("tensors.inputs.0.shape", [1, -600], "tensors.inputs[0].shape[1]: "),
        ("tensors.inputs.0.shape", [2**62] * 17, "tensors.inputs[0].shape: "),
        ("features", [{"kind": "fft"}], "features[0].kind: "),
        ("features", [{"kind": "standardise", "mean": [0], "std": [0]}], "features[0].std[0]: "),
        ("decision.kind", "guess", "decision.kind: "),
        ("decision.labels", ["one"], "decision.labels: "),
        ("decision.threshold", 1.5, "decision.threshold: "),
        ("golden.tolerance", -1, "golden.tolerance: "),
        ("limits", {"memory_bytes": {"default": 0}}, "limits.memory_bytes[...]: "),
        ("provenance.source_sha256", "xyz", "provenance.source_sha256: "),
    ],
)
def test_wrong_field_is_named_by_its_path(path: str, value: object, shown: str) -> None:
    with pytest.raises(BundleRefused) as refused:
        decode(changed(path, value))
    assert str(refused.value).startswith(f"manifest.json: {shown}")
    assert "\n" not in str(refused.value)


def test_missing_field_is_named() -> None:
    document = json.loads(encode(watch_manifest()))
    del document["stream"]["hop"]
    with pytest.raises(BundleRefused, match=r"^manifest.json: stream: .*`hop`"):
        decode(json.dumps(document).encode())


@pytest.mark.parametrize("path", ["later", "stream.later", "provenance.later", "decision.later"])
def test_unknown_field_is_ignored(path: str) -> None:
    assert decode(changed(path, {"a": [1]})) == watch_manifest()


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"null", b"[]", b"\xff\xfe", b'{"a":' * 100_000, b'"' + b"\xed\xa0\x80" + b'"'],
)
def test_what_is_not_a_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(BundleRefused, match=r"^manifest\.json: "):
        decode(data)


def test_too_large_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(BundleRefused, match="at most 1048576"):
        decode(b" " * (MAX_MANIFEST_BYTES + 1))


TENSORS = watch_manifest().tensors
DECISION = Classification(LABELS, output="probabilities")


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (watch_manifest(model="other.onnx"), "model: other.onnx is not listed in files"),
        (
            watch_manifest(golden=Golden("g.npz", 0.1)),
            "golden.file: g.npz is not listed in files",
        ),
        (
            watch_manifest(reference=Reference("r.npz")),
            "reference.file: r.npz is not listed in files",
        ),
        (
            watch_manifest(decision=msgspec.structs.replace(DECISION, output="scores")),
            "decision.output: 'scores', the model has label, probabilities",
        ),
        (
            watch_manifest(decision=msgspec.structs.replace(DECISION, output="")),
            "decision.output: must name one of label, probabilities",
        ),
        (
            watch_manifest(decision=msgspec.structs.replace(DECISION, labels=("a", "b"))),
            "decision.labels: 2 labels, the model gives 7 scores",
        ),
        (
            watch_manifest(decision=msgspec.structs.replace(DECISION, labels=tuple("abcdefa"))),
            "decision.labels: 'a' stands there twice",
        ),
        (
            watch_manifest(
                stream=msgspec.structs.replace(STREAM, channels=STREAM.channels[:1] * 6)
            ),
            "stream.channels: 'ax' stands there twice",
        ),
        (
            watch_manifest(tensors=Tensors(TENSORS.inputs, TENSORS.outputs[1:] * 2)),
            "tensors.outputs: 'probabilities' stands there twice",
        ),
        (
            watch_manifest(stream=msgspec.structs.replace(STREAM, window=99)),
            "stream: a window is 99 x 6 = 594 values, the model takes X 1x600",
        ),
        (
            watch_manifest(features=(Statistics(("mean", "rms")),)),
            "features: a window becomes 1 x 12 = 12 values, the model takes X 1x600",
        ),
        (
            watch_manifest(tensors=Tensors(TENSORS.inputs * 2, TENSORS.outputs)),
            "tensors.inputs: X 1x600, X 1x600, expected one",
        ),
        (
            watch_manifest(features=(Standardise((0.0,), (1.0,)),)),
            "features[0]: 1 means and 1 deviations for 6 channels",
        ),
    ],
)
def test_contradiction_is_refused_by_field(manifest: Manifest, message: str) -> None:
    with pytest.raises(BundleRefused) as refused:
        decode(encode(manifest))
    assert str(refused.value) == f"manifest.json: {message}"


names = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True)
files = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True)
finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
deviations = st.floats(min_value=1.2e-38, allow_infinity=False)


@st.composite
def any_manifest(draw: st.DrawFn) -> Manifest:
    channels = draw(st.lists(st.text(), min_size=1, max_size=5, unique=True))
    labels = draw(st.lists(st.text(), min_size=2, max_size=5, unique=True))
    window = draw(st.integers(1, MAX_VALUES // len(channels)))
    model, golden = draw(st.lists(files, min_size=2, max_size=2, unique=True))
    members = st.builds(
        Member,
        sha256=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
        length=st.integers(0, 2**40),
    )
    per_channel = st.lists(deviations, min_size=len(channels), max_size=len(channels)).map(tuple)
    return watch_manifest(
        name=draw(names),
        variant=draw(names),
        version=".".join(str(draw(st.integers(0, 10**6))) for _ in range(3)),
        model=model,
        files={
            model: draw(members),
            golden: draw(members),
            **draw(st.dictionaries(files, members, max_size=3)),
        },
        tensors=Tensors(
            (Tensor(draw(st.text()), (1, window, len(channels)), "int8", draw(finite), -3),),
            (Tensor("y", (1, len(labels)), "float32"),),
        ),
        requires=Requires(profiles=tuple(draw(st.lists(st.text(), max_size=3)))),
        stream=Stream(
            rate_hz=draw(positive),
            channels=tuple(Channel(c, draw(st.text())) for c in channels),
            window=window,
            hop=draw(st.integers(1, 10**6)),
        ),
        features=tuple(Standardise(draw(per_channel), draw(per_channel)) for _ in range(2)),
        decision=Classification(tuple(labels), top=draw(st.integers(1, 99))),
        golden=Golden(golden, draw(positive)),
        limits=Limits(latency_ms=draw(st.dictionaries(st.text(), positive, max_size=3))),
    )


@settings(max_examples=50)
@given(any_manifest())
def test_encode_and_decode_are_inverse(manifest: Manifest) -> None:
    data = encode(manifest)
    again = decode(data)
    assert again == manifest
    assert encode(again) == data


@settings(max_examples=20)
@given(any_manifest())
def test_bytes_do_not_depend_on_the_order_of_files(manifest: Manifest) -> None:
    turned = dict(reversed(manifest.files.items()))
    other = msgspec.structs.replace(manifest, files=turned)
    assert encode(other) == encode(manifest)


# --- without a stream, without a decision

LABELLED = Classification(("no", "yes"))
PLAIN = "bool, float16, float32, int16, int32, int64, int8, uint8"
LATER = {"metric", "holdout_windows", "plan_sha256", "runtime", "machine"}


def taking(dtype: str, *more: Tensor) -> Tensors:
    outputs = prepared_manifest().tensors.outputs
    return Tensors((Tensor("x", (1, 4), dtype), *more), outputs)


@pytest.mark.parametrize("dtype", sorted(PREPARED))
def test_prepared_tensors_of_any_plain_type_are_taken(dtype: str) -> None:
    manifest = prepared_manifest(tensors=taking(dtype))
    assert decode(encode(manifest)) == manifest
    assert (manifest.window_shape, manifest.window_dtype) == ((1, 4), dtype)


def test_a_decision_needs_no_stream() -> None:
    outputs = (Tensor("a", (1, 3), "float32"), Tensor("b", (1, 2), "float32"))
    decision = Classification(("no", "yes"), output="b")
    tensors = Tensors(taking("int32").inputs, outputs)
    manifest = prepared_manifest(tensors=tensors, decision=decision)
    assert decode(encode(manifest)) == manifest
    assert manifest.scores_count == 2
    assert msgspec.structs.replace(manifest, decision=None).scores_count == 5


def test_a_stream_needs_no_decision() -> None:
    manifest = watch_manifest(decision=None)
    assert decode(encode(manifest)) == manifest
    assert (manifest.window_shape, manifest.scores_count) == ((100, 6), 8)


def test_what_is_not_there_is_left_out() -> None:
    prepared = json.loads(encode(prepared_manifest()))
    assert not {"stream", "decision"} & prepared.keys()
    assert not LATER & prepared["provenance"].keys()
    full = watch_manifest(
        provenance=Provenance(
            "0" * 64, "r", None, None, 3, 0.5, 0.5, "accuracy", 2, "1" * 64, "onnxruntime 1", "arm"
        )
    )
    assert json.loads(encode(full))["provenance"].keys() >= LATER
    assert decode(encode(full)) == full


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (
            prepared_manifest(features=(Standardise((0.0,), (1.0,)),)),
            "features: there is no stream; a prepared tensor is taken as it is",
        ),
        (
            prepared_manifest(tensors=taking("float64")),
            f"tensors.inputs[0].dtype: 'float64', expected one of {PLAIN}",
        ),
        (
            prepared_manifest(tensors=taking("int8", Tensor("y", (1,), "int8"))),
            "tensors.inputs: x 1x4, y 1, expected one",
        ),
        (
            prepared_manifest(decision=LABELLED),
            "decision.labels: 2 labels, the model gives 1 scores",
        ),
    ],
)
def test_contradiction_of_a_prepared_one_is_refused_by_field(
    manifest: Manifest, message: str
) -> None:
    with pytest.raises(BundleRefused) as refused:
        decode(encode(manifest))
    assert str(refused.value) == f"manifest.json: {message}"


def test_what_came_later_is_left_out_of_a_decision_that_does_not_say_it() -> None:
    said = json.loads(encode(watch_manifest()))["decision"]
    assert said == {
        "kind": "classification",
        "labels": list(LABELS),
        "output": "probabilities",
        "activation": "none",
        "top": 3,
        "threshold": 0.0,
    }
    rule = Classification(
        LABELS,
        output="probabilities",
        thresholds={"ABD": 0.5},
        smoothing=Smoothing("mean", 3),
        events=Events(off=0.3, debounce=2),
        predictions=Every(5.0),
    )
    full = watch_manifest(decision=rule)
    assert decode(encode(full)) == full


@pytest.mark.parametrize(
    ("rule", "outputs"),
    [
        (Score(("no", "yes"), 0.97, predictions="changes"), [("y", (1, 1))]),
        (Regression((Quantity("t", "K", low=1.0),)), [("y", (1, 1))]),
        (Anomaly(9.5), [("y", (1, 600))]),
        (
            Detection(("face",), "b", "s", order="xywh", anchors=Anchors((8, 16), 128, 128.0)),
            [("s", (1, 640, 1)), ("more", (3,)), ("b", (1, 640, 16))],
        ),
    ],
)
def test_every_kind_of_decision_reads_back(
    rule: Rule, outputs: list[tuple[str, tuple[int, ...]]]
) -> None:
    tensors = Tensors(
        watch_manifest().tensors.inputs, tuple(Tensor(n, s, "float32") for n, s in outputs)
    )
    manifest = watch_manifest(decision=rule, tensors=tensors)
    assert decode(encode(manifest)) == manifest
    if isinstance(rule, Detection):
        assert (manifest.scores_outputs, manifest.scores_count) == ((2, 0), 640 * 17)
