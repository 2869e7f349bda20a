"""Whatever a framework raises becomes an answer of one line."""

from pathlib import Path

import msgspec
import pytest

from convert.importers.worker import MODEL, Answer, run_export
from tests.convert.importers.examples import fit_forest, require_sklearn, save


@pytest.fixture(autouse=True)
def _sklearn() -> None:
    require_sklearn()


def test_model_and_answer(tmp_path: Path) -> None:
    answer = run_export("sklearn_pickle", save(fit_forest(), tmp_path / "m.pkl"), True, tmp_path)
    assert answer.usage is answer.refused is None
    assert answer.exporter.startswith("skl2onnx ")
    assert (tmp_path / MODEL).stat().st_size > 1000
    assert msgspec.json.decode(msgspec.json.encode(answer), type=Answer) == answer


def test_estimator_that_lacks_a_field(tmp_path: Path) -> None:
    forest = fit_forest()
    del forest[-1].estimators_
    answer = run_export("sklearn_pickle", save(forest, tmp_path / "m.pkl"), True, tmp_path)
    assert answer.refused is not None
    assert "estimators_" in answer.refused
    assert not (tmp_path / MODEL).exists()
