"""docs/features.md names every step and key, and its specs are read as they stand."""

import re
from pathlib import Path

import msgspec
import pytest

from convert.given.spec import read_spec
from edge_bundle.features.steps import Composite, Form, Single, form_after
from edge_bundle.sound import WAV_UNITS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "features.md").read_text(encoding="utf-8")
SPECS = re.findall(r"^```toml\n(\[stream\].*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("step", Single.__args__, ids=lambda s: s.__struct_config__.tag)
def test_table_has_every_key_of_a_step(step: type[msgspec.Struct]) -> None:
    row = re.search(rf"^\| `{step.__struct_config__.tag}` .*$", PAGE, re.MULTILINE)
    assert row is not None
    assert [key for key in step.__struct_fields__ if f"`{key}`" not in row[0]] == []


@pytest.mark.parametrize("step", Composite.__args__, ids=lambda s: s.__struct_config__.tag)
def test_table_names_what_a_composite_stands_for(step: type[msgspec.Struct]) -> None:
    assert f"| `{step.__struct_config__.tag}` |" in PAGE


@pytest.mark.parametrize(
    ("text", "after"), list(zip(SPECS, [(49, 10), (1, 15), (3, 9216)], strict=True))
)
def test_specs_are_read_and_give_what_the_page_says(
    tmp_path: Path, text: str, after: tuple[int, int]
) -> None:
    file = tmp_path / "s.toml"
    file.write_text(text)
    spec = read_spec(file).spec
    assert spec.stream is not None
    form: Form = form_after(spec.features, spec.stream.form)
    assert (form.rows, form.columns) == after


def test_keyword_spotting_is_the_spec_that_the_real_model_was_measured_with(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text(SPECS[0])
    shown = read_spec(file).spec
    measured = read_spec(ROOT / "benchmarks" / "real_models" / "kws.toml").spec
    assert (shown.stream, shown.features) == (measured.stream, measured.features)
    assert shown.decision == measured.decision
    assert shown.stream is not None
    assert {c.unit for c in shown.stream.channels} <= WAV_UNITS.keys()
