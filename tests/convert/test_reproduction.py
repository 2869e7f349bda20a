"""A plan makes the same bytes again from the same model, or says why it cannot."""

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from convert import reproduction
from convert.build import Order, build
from convert.products import plan as plans
from convert.products.plan import Plan
from convert.products.writing import Built
from convert.reproduction import read_plan, reproduce
from edge_bundle.archive import read_bundle
from edge_bundle.errors import ArtifactRefused, ConfigError
from tests.convert.classifier import Told, echo
from tests.convert.small_build import Workshop, open_workshop
from tests.parts import require_module


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workshop, Built]:
    workshop = open_workshop(tmp_path_factory.mktemp("finished"))
    return workshop, workshop.build()


@pytest.fixture
def workshop(finished: tuple[Workshop, Built]) -> Workshop:
    return finished[0]


@pytest.fixture
def built(finished: tuple[Workshop, Built]) -> Built:
    return finished[1]


def again(plan: Path, model: Path, out: Path) -> list[Path]:
    return list(reproduce(plan, model, out, False, Told()))


def write(file: Path, plan: Plan) -> Path:
    file.write_bytes(plans.encode(plan))
    return file


def test_the_same_bytes_come_out_again(workshop: Workshop, built: Built, tmp_path: Path) -> None:
    (file,) = again(built.plan, workshop.order.model, tmp_path / "again")
    assert file == tmp_path / "again" / "small-1.0.0-onnx-int8.onnx"
    assert file.read_bytes() == read_bundle(built.paths[0]).model()
    assert list((tmp_path / "again").iterdir()) == [file]


@pytest.mark.parametrize("precision", ["dynamic", "fp16", "float"])
def test_other_kinds_come_out_again(workshop: Workshop, tmp_path: Path, precision: str) -> None:
    made = workshop.build(precision=precision, calibration=None, out=tmp_path / "dist")
    (file,) = again(made.plan, workshop.order.model, tmp_path / "again")
    assert file.read_bytes() == read_bundle(made.paths[0]).model()


def test_all_formats_of_a_plan_come_out_again(workshop: Workshop, tmp_path: Path) -> None:
    require_module("ai_edge_litert")
    require_module("ai_edge_quantizer")
    made = workshop.build(formats=("onnx", "tflite"), out=tmp_path / "dist")
    files = again(made.plan, workshop.order.model, tmp_path / "again")
    assert {f.suffix for f in files} == {".onnx", ".tflite"}
    assert [f.read_bytes() for f in files] == [read_bundle(p).model() for p in made.paths]


def test_nodes_that_were_left_in_float_stay_float(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Three layers of int8 are further from float than this allows, and two are not.
    monkeypatch.chdir(workshop.folder)
    (workshop.folder / "close.py").write_text(
        "def judge(outputs, y, reference):\n"
        "    return -abs(outputs['scores'] - reference['scores']).mean(axis=(1, 2))\n"
    )
    made = workshop.build(
        metric="close:judge", precision="int8", max_drop=0.65, out=tmp_path / "dist"
    )
    plan = read_plan(made.plan)
    assert plan.variants[0].recipe.float_nodes
    (file,) = again(made.plan, workshop.order.model, tmp_path / "again")
    assert file.read_bytes() == read_bundle(made.paths[0]).model()


def refused(plan: Path, model: Path, out: Path) -> str:
    with pytest.raises(ArtifactRefused) as stop:
        again(plan, model, out)
    assert not out.exists()
    return str(stop.value)


def test_another_model_is_refused(built: Built, tmp_path: Path) -> None:
    other = tmp_path / "echo.onnx"
    other.write_bytes(echo())
    line = refused(built.plan, other, tmp_path / "again")
    assert line.startswith(f"{other}: sha256 {plans.digest(echo())}, the plan is for ")


def test_other_bytes_are_refused(workshop: Workshop, built: Built, tmp_path: Path) -> None:
    plan = read_plan(built.plan)
    variant = plan.variants[0]
    name, ends = next(iter(variant.ranges.items()))
    wider = msgspec.structs.replace(ends, high=ends.high * 2)
    changed = msgspec.structs.replace(variant, ranges=variant.ranges | {name: wider})
    file = write(tmp_path / "p.json", msgspec.structs.replace(plan, variants=(changed,)))
    line = refused(file, workshop.order.model, tmp_path / "again")
    assert line == "onnx-int8: other bytes come out"


def test_version_that_may_be_why_is_named(workshop: Workshop, built: Built, tmp_path: Path) -> None:
    plan = read_plan(built.plan)
    variant = msgspec.structs.replace(plan.variants[0], model_sha256="0" * 64)
    versions = plan.versions | {"onnxslim": "0.0.1", "magic": "3"}
    other = msgspec.structs.replace(plan, variants=(variant,), versions=versions)
    line = refused(write(tmp_path / "p.json", other), workshop.order.model, tmp_path / "again")
    here = plans.emitter_versions()["onnxslim"]
    assert line == (
        "onnx-int8: other bytes come out: the plan was made with "
        f"magic 3, here none; onnxslim 0.0.1, here {here}"
    )


def test_plain_form_that_comes_out_otherwise_is_refused(
    workshop: Workshop, built: Built, tmp_path: Path
) -> None:
    plan = read_plan(built.plan)
    variant = msgspec.structs.replace(plan.variants[0], float_sha256="0" * 64)
    file = write(tmp_path / "p.json", msgspec.structs.replace(plan, variants=(variant,)))
    line = refused(file, workshop.order.model, tmp_path / "again")
    assert line == "onnx-int8: the float model comes out otherwise"


def test_failure_in_the_middle_leaves_no_file(
    workshop: Workshop, built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyError

    monkeypatch.setattr(reproduction, "move_into_place", fail)
    with pytest.raises(KeyError):
        again(built.plan, workshop.order.model, tmp_path / "again")
    assert list((tmp_path / "again").iterdir()) == []


def test_plan_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.json: No such file or directory$"):
        read_plan(tmp_path / "none.json")


def test_file_that_is_no_plan_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text("[]")
    with pytest.raises(ArtifactRefused, match=r"p\.json: not a plan: Expected `object`"):
        read_plan(tmp_path / "p.json")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "../../evil"}, "matching regex"),
        ({"version": "../x"}, "matching regex"),
        ({"outputs": []}, "length >= 1"),
        ({"shapes": []}, "0 shapes for 1 outputs"),
    ],
)
def test_plan_that_reaches_elsewhere_or_contradicts_itself_is_refused(
    workshop: Workshop, built: Built, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    plan = msgspec.json.decode(built.plan.read_bytes()) | changes
    file = tmp_path / "plan.json"
    file.write_bytes(msgspec.json.encode(plan))
    with pytest.raises(ArtifactRefused, match=said):
        again(file, workshop.order.model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_variant_that_stands_there_twice_or_is_another_is_refused(
    workshop: Workshop, built: Built, tmp_path: Path
) -> None:
    plan = read_plan(built.plan)
    (variant,) = plan.variants
    other = msgspec.structs.replace(variant, variant="onnx-fp16")
    for variants in ((variant, variant), (other,)):
        file = write(tmp_path / "plan.json", msgspec.structs.replace(plan, variants=variants))
        with pytest.raises(ArtifactRefused, match="stands there wrongly"):
            again(file, workshop.order.model, tmp_path / "out")


def test_plan_of_nothing_says_so(workshop: Workshop, built: Built, tmp_path: Path) -> None:
    empty = msgspec.structs.replace(read_plan(built.plan), variants=())
    with pytest.raises(ArtifactRefused, match="holds no variant: nothing kept the budget"):
        again(write(tmp_path / "plan.json", empty), workshop.order.model, tmp_path / "out")


def test_convolutions_made_products_and_inputs_that_only_real_samples_bear(
    tmp_path: Path,
) -> None:
    require_module("ai_edge_quantizer")
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Log", ["x"], ["l"]),  # of seeded samples, not a number
        helper.make_node("Conv", ["l", "w"], ["c"], pads=[1, 1], name="conv"),
        helper.make_node("ReduceMean", ["c"], ["y"], axes=[2], keepdims=0),
    ]
    made = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "lines",
        [made("x", onnx.TensorProto.FLOAT, [1, 16, 20])],
        [made("y", onnx.TensorProto.FLOAT, [1, 24])],
        [numpy_helper.from_array(random.normal(size=(24, 16, 3)).astype(np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    file = tmp_path / "lines.onnx"
    onnx.save(model, file)
    x = np.exp(random.normal(size=(40, 16, 20))).astype(np.float32)
    np.savez(tmp_path / "eval.npz", x=x)
    order = Order(
        file,
        str(tmp_path / "eval.npz"),
        formats=("tflite",),
        precision="dynamic",
        max_drop=0.9,
        out=tmp_path / "dist",
    )
    built = build(order, Told())
    assert read_plan(built.plan).variants[0].recipe.by_rows
    (again_file,) = again(built.plan, file, tmp_path / "again")
    assert again_file.read_bytes() == read_bundle(built.paths[0]).model()
