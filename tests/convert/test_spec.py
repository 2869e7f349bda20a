"""A spec is refused by file, line, column and key."""

from pathlib import Path

import pytest

from convert.spec import read_spec
from edge_bundle.errors import ConfigError
from tests.convert.example import SPEC


def refusal(folder: Path, old: str, new: str) -> str:
    file = folder / "s.toml"
    file.write_text(SPEC.read_text().replace(old, new))
    with pytest.raises(ConfigError) as error:
        read_spec(file)
    return str(error.value).removeprefix(str(file))


def test_example_fits() -> None:
    spec = read_spec(SPEC).spec
    assert spec.window_shape == (100, 6)
    assert spec.decision.output == "probabilities"


def test_label_that_is_there_twice(tmp_path: Path) -> None:
    assert refusal(tmp_path, '"ABD"', '"PEN"') == ":20:1: decision.labels: 'PEN' is there twice"


def test_channel_that_is_there_twice(tmp_path: Path) -> None:
    assert refusal(tmp_path, '"ay"', '"ax"') == ":8:1: stream.channels: 'ax' is there twice"


def test_feature_that_does_not_fit_the_channels(tmp_path: Path) -> None:
    step = '[[features]]\nkind = "standardise"\nmean = [0.0]\nstd = [1.0]\n\n[decision]'
    assert refusal(tmp_path, "[decision]", step) == (
        ":17:1: features[0]: 1 means and 1 deviations for 6 channels"
    )


def test_table_that_is_missing(tmp_path: Path) -> None:
    assert "stream: is missing" in refusal(tmp_path, SPEC.read_text(), "")
