"""A pickle becomes an ONNX model that gives the same scores, or is refused by what it holds."""

import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from convert.given.source import read_onnx
from convert.importers.sklearn_pickle import export, export_estimator, load_estimator
from convert.onnx.canonical import canonicalise
from convert.parity import measure_parity
from edge_bundle.errors import ModelRefused
from edge_bundle.runtimes.loader import load_model
from tests.convert.importers.examples import (
    CLASSES,
    NAMES,
    UNSEEN,
    X,
    fit_forest,
    require_sklearn,
    run_onnx,
    save,
)

PARITY = 1e-5


@pytest.fixture(autouse=True)
def _sklearn() -> None:
    require_sklearn()


def fit(name: str) -> Any:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    models: dict[str, Callable[[], Any]] = {
        "forest": fit_forest,
        "boosting": lambda: GradientBoostingClassifier(n_estimators=5).fit(X, NAMES),
        "two classes": lambda: LogisticRegression().fit(X, CLASSES > 0),
        "vectors": lambda: CalibratedClassifierCV(SVC(), ensemble=False, cv=3).fit(X, NAMES),
        "network": lambda: make_pipeline(
            StandardScaler(), MLPClassifier((8,), max_iter=30, random_state=0)
        ).fit(X, CLASSES),
        "regressor": lambda: Ridge().fit(X, X[:, 0] * 2 + 1),
        "two values": lambda: MLPRegressor(
            hidden_layer_sizes=(8,), max_iter=30, random_state=0
        ).fit(X, X[:, :2]),
    }
    with warnings.catch_warnings():
        # These networks mean to stop early.
        warnings.simplefilter("ignore")
        return models[name]()


@pytest.mark.parametrize(
    "name",
    ["forest", "boosting", "two classes", "vectors", "network", "regressor", "two values"],
)
def test_scores_are_scikit_learns_own(name: str) -> None:
    estimator = fit(name)
    data = export_estimator(estimator)
    found = run_onnx(data, UNSEEN)
    own = getattr(estimator, "predict_proba", estimator.predict)(UNSEEN)
    assert np.abs(found - own.reshape(found.shape)).max() <= PARITY
    if hasattr(estimator, "predict_proba"):
        assert found.shape == (len(UNSEEN), len(estimator.classes_))


@pytest.mark.parametrize("name", ["forest", "vectors", "network"])
def test_rest_of_the_conversion_takes_it(tmp_path: Path, name: str) -> None:
    estimator = fit(name)
    file = save(estimator, tmp_path / "m.pkl")
    source = read_onnx(file, export(file, trust=True).data)
    assert source.outputs == ("probabilities",)
    inputs = [row[None] for row in UNSEEN]
    plain = canonicalise(measure_parity(source, source.outputs, inputs)).data
    model = load_model(plain, "onnx")
    own = estimator.predict_proba(UNSEEN)
    for x, expected in zip(inputs, own, strict=True):
        model.input(0)[...] = x
        model.invoke()
        assert np.abs(model.output(0) - expected).max() <= PARITY
    model.close()


def test_versions_classes_and_the_difference_are_told(tmp_path: Path) -> None:
    import skl2onnx
    import sklearn

    imported = export(save(fit_forest(), tmp_path / "m.pkl"), trust=True)
    assert imported.framework == f"scikit-learn {sklearn.__version__}"
    assert imported.exporter == f"skl2onnx {skl2onnx.__version__}"
    order, difference = imported.notes
    assert order == "its scores are in the order of classes_: idle, run, walk"
    assert difference.startswith("its outputs differ from scikit-learn's own by at most ")
    opsets = onnx.load_model_from_string(imported.data).opset_import
    assert {o.domain: o.version for o in opsets}[""] <= 17


def test_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    file = save(fit_forest(), tmp_path / "m.pkl")
    assert export(file, trust=True).data == export(file, trust=True).data


@pytest.mark.parametrize("compress", [0, 3])
def test_joblib_files(tmp_path: Path, compress: int) -> None:
    import joblib

    joblib.dump(fit_forest(), tmp_path / "m.joblib", compress=compress)
    estimator, notes = load_estimator(tmp_path / "m.joblib")
    assert type(estimator).__name__ == "Pipeline"
    assert notes == []


def test_other_version_of_scikit_learn_is_a_note(tmp_path: Path) -> None:
    import sklearn

    version = sklearn.__version__.encode()
    old = b"0" * (len(version) - 2) + b".1"
    file = tmp_path / "m.pkl"
    # As text of the same length, so that the pickle stays whole.
    file.write_bytes(pickle.dumps(fit_forest()).replace(version, old))
    _, notes = load_estimator(file)
    (note,) = notes
    assert f"saved by scikit-learn {old.decode()} and read by {sklearn.__version__}, so" in note


@pytest.mark.parametrize("keep", [0, 10, 200, 5000])
def test_damaged_file(tmp_path: Path, keep: int) -> None:
    file = save(fit_forest(), tmp_path / "m.pkl")
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ModelRefused, match="damaged"):
        load_estimator(file)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    file = tmp_path / "m.pkl"
    file.write_bytes(b"cfarm_features\nSpectrum\n.")
    with pytest.raises(ModelRefused, match=r"No module named 'farm_features'; call edge-convert"):
        load_estimator(file)


def refuse(value: object, folder: Path) -> str:
    with pytest.raises(ModelRefused) as refusal:
        load_estimator(save(value, folder / "m.pkl"))
    return str(refusal.value)


def test_pickle_of_something_else_is_named(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    assert refuse({"model": 1}, tmp_path) == (
        "a pickle of builtins's dict, expected a scikit-learn classifier or regressor"
    )
    assert "numpy's ndarray" in refuse(X, tmp_path)
    assert "sklearn's StandardScaler, expected a classifier" in refuse(
        StandardScaler().fit(X), tmp_path
    )
    assert "sklearn's LogisticRegression is not fitted" in refuse(LogisticRegression(), tmp_path)
    machine = make_pipeline(StandardScaler(), SVC()).fit(X, CLASSES)
    assert "sklearn's Pipeline of SVC gives no probabilities; fit Calibrated" in refuse(
        machine, tmp_path
    )
    assert "is not fitted" in refuse(make_pipeline(StandardScaler(), SVC(C=2.0)), tmp_path)


def test_several_targets(tmp_path: Path) -> None:
    from sklearn.ensemble import RandomForestClassifier

    two = np.stack([CLASSES, CLASSES > 1], axis=1)
    forest = RandomForestClassifier(3, random_state=0).fit(X, two)
    assert "several targets" in refuse(forest, tmp_path)


def test_estimator_without_converter_is_named() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.manifold import Isomap
    from sklearn.pipeline import make_pipeline

    pipeline = make_pipeline(Isomap(n_neighbors=5), LogisticRegression()).fit(X, CLASSES)
    with pytest.raises(ModelRefused, match=r"no converter for sklearn\.manifold\._isomap\.Isomap;"):
        export_estimator(pipeline)
