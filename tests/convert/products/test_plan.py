"""A plan is the same bytes for the same decisions, and reads back as it was."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert.choice.recipes import Recipe
from convert.products import plan as plans
from convert.products.plan import (
    Ends,
    Plan,
    Variant,
    decode,
    digest,
    emitter_versions,
    encode,
    identify,
    to_ends,
    to_ranges,
)
from convert.ranges import Range
from edge_bundle.errors import ArtifactRefused
from tests.convert.report.cases import keyword_spotting

RANGES = {"x": Ends(-1.5, 2.25), "y": Ends(0.0, 0.1)}
VARIANT = Variant(
    variant="onnx-int8",
    recipe=Recipe("onnx", "int8", "least-squares", "all operators", "uint8", float_nodes=("a",)),
    float_sha256="1" * 64,
    model_sha256="2" * 64,
    bundle_sha256="3" * 64,
    ranges=RANGES,
)
PLAN = Plan(
    name="watch",
    version="1.0.0",
    source_sha256="4" * 64,
    calibration_sha256="5" * 64,
    evaluation_sha256="6" * 64,
    target="generic",
    outputs=("scores",),
    shapes=((1, 7),),
    left_out=("simplify",),
    seeds={"split": 1, "reservoir": 0},
    versions={"onnx": "1.19.0"},
    variants=(VARIANT,),
)


def change(**changes: object) -> Plan:
    return msgspec.structs.replace(PLAN, **changes)


@pytest.mark.parametrize(
    "plan",
    [PLAN, change(calibration_sha256=None, variants=()), change(findings=keyword_spotting())],
)
def test_plan_reads_back_as_it_was(plan: Plan) -> None:
    assert decode(encode(plan), "plan.json") == plan


def test_equal_plans_are_the_same_bytes() -> None:
    turned = change(seeds=dict(reversed(PLAN.seeds.items())), versions=dict(PLAN.versions))
    assert encode(turned) == encode(PLAN)
    assert encode(PLAN).endswith(b"}\n")


@given(
    st.dictionaries(
        st.text(max_size=8),
        st.tuples(st.floats(-1e30, 0), st.floats(0, 1e30)).map(lambda ends: Range(*ends)),
    )
)
def test_ranges_come_back_to_the_last_bit(ranges: dict[str, Range]) -> None:
    kept = change(variants=(msgspec.structs.replace(VARIANT, ranges=to_ends(ranges)),))
    (variant,) = decode(encode(kept), "plan.json").variants
    assert to_ranges(variant.ranges) == ranges


def test_bundles_and_findings_do_not_change_what_was_decided() -> None:
    bundled = msgspec.structs.replace(VARIANT, bundle_sha256="9" * 64)
    assert identify(change(variants=(bundled,))) == identify(PLAN)
    assert identify(change(findings=keyword_spotting())) == identify(PLAN)


@pytest.mark.parametrize(
    "other",
    [
        change(version="1.0.1"),
        change(versions={"onnx": "1.20.0"}),
        change(outputs=("other",)),
        change(variants=(msgspec.structs.replace(VARIANT, ranges={"x": Ends(-1.5, 2.5)}),)),
        change(
            variants=(
                msgspec.structs.replace(
                    VARIANT, recipe=msgspec.structs.replace(VARIANT.recipe, float_nodes=())
                ),
            )
        ),
    ],
)
def test_another_decision_is_another_plan(other: Plan) -> None:
    assert identify(other) != identify(PLAN)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not a plan: Input data was truncated"),
        (b"PK\x03\x04", "not a plan: "),
        (b'"\xff\xfe"', "not a plan: "),
        (b"{}", "not a plan: Object missing required field"),
        (encode(PLAN).replace(b'"schema": 1', b'"schema": 2'), "not a plan: Invalid enum value 2"),
        (encode(PLAN).replace(b'"int8"', b'"int4"'), "not a plan: Invalid enum value 'int4'"),
    ],
)
def test_file_that_is_no_plan_is_one_line(data: bytes, said: str) -> None:
    with pytest.raises(ArtifactRefused) as stop:
        decode(data, "some.json")
    assert str(stop.value).startswith(f"some.json: {said}")
    assert "\n" not in str(stop.value)


def test_huge_file_is_not_read_as_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "MAX_PLAN_BYTES", 100)
    with pytest.raises(ArtifactRefused, match=r"some.json: \d+ bytes, at most 100"):
        decode(encode(PLAN), "some.json")


def test_versions_are_of_what_is_installed() -> None:
    found = emitter_versions()
    assert {"onnx", "onnxruntime", "numpy"} <= found.keys()
    assert found["onnx"] == __import__("onnx").__version__


def test_digest_is_sha256() -> None:
    assert digest(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
