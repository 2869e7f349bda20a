"""scikit-learn's pickles, exported by skl2onnx. Runs in a process of its own: see ``child``."""

import re
import warnings
from numbers import Integral
from pathlib import Path
from typing import Any, Final

import numpy as np

from convert.given.source import first_line
from convert.importers.fidelity import compare_with
from convert.importers.imported import Imported, explain
from convert.onnx.canonical import keep_outputs, to_bytes
from edge_bundle.errors import ModelRefused
from edge_bundle.tensor import Array

OPSET: Final = 17
MAX_NAMED: Final = 20
"""Classes that a note spells out."""


def export(path: Path, trust: bool) -> Imported:  # noqa: ARG001 (no pickle comes here without it)
    """Return a classifier's probabilities, or a regressor's values, as a model of one output.

    Raises: ModelRefused: damaged, not a classifier or regressor, or not known to skl2onnx.
    """
    estimator, notes = load_estimator(path)
    import skl2onnx
    import sklearn

    data = export_estimator(estimator)
    framework = f"scikit-learn {sklearn.__version__}"
    notes += _describe_classes(estimator)
    notes.append(compare_with(data, "scikit-learn", lambda x: [_score(estimator, x)]))
    return Imported(data, framework, f"skl2onnx {skl2onnx.__version__}", tuple(notes))


def load_estimator(path: Path) -> tuple[Any, list[str]]:
    """Unpickle, which runs what the file says, and return a fitted estimator and notes.

    Raises: ModelRefused: damaged, or naming what the file holds instead.
    """
    import joblib
    import sklearn
    from sklearn.exceptions import InconsistentVersionWarning

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            estimator = joblib.load(path)
        except ImportError as error:
            raise ModelRefused(
                f"its pickle needs a module that is not here: {first_line(error)}; "
                "call edge-convert from the folder that holds it, or install it"
            ) from None
        except Exception as error:  # damage makes an unpickler raise anything
            raise ModelRefused(
                f"damaged, or made of what is not here: {type(error).__name__}: {first_line(error)}"
            ) from None
    _refuse_others(estimator)
    messages = [w.message for w in seen]
    made_by = {
        str(message.original_sklearn_version)
        for message in messages
        if isinstance(message, InconsistentVersionWarning)
    }
    if not made_by:
        return estimator, []
    note = (
        f"it was saved by scikit-learn {', '.join(sorted(made_by))} and read by "
        f"{sklearn.__version__}, so its scores may have changed: use one version for both"
    )
    return estimator, [note]


def _refuse_others(estimator: Any) -> None:
    from sklearn.base import BaseEstimator, is_classifier, is_regressor

    name = _describe(estimator)
    if not isinstance(estimator, BaseEstimator):
        raise ModelRefused(f"a pickle of {name}, expected a scikit-learn classifier or regressor")
    if not (is_classifier(estimator) or is_regressor(estimator)):
        raise ModelRefused(f"{name}, expected a classifier, a regressor, or a pipeline of one")
    if not isinstance(getattr(estimator, "n_features_in_", None), Integral):
        raise ModelRefused(f"{name} is not fitted on a table of numbers: fit it before saving it")
    if not is_classifier(estimator):
        return
    if not isinstance(getattr(estimator, "classes_", None), np.ndarray):
        raise ModelRefused(f"{name} has several targets, expected one")
    # What skl2onnx gives for these is, for two classes, one column, or two of opposite sign.
    if not hasattr(estimator, "predict_proba"):
        raise ModelRefused(
            f"{name} gives no probabilities; fit CalibratedClassifierCV(model, ensemble=False) "
            "around it"
        )


def _describe(value: Any) -> str:
    """Return ``sklearn's Pipeline of SVC``."""
    kind = type(value)
    last = f" of {type(value.steps[-1][1]).__name__}" if kind.__name__ == "Pipeline" else ""
    return f"{kind.__module__.partition('.')[0]}'s {kind.__name__}{last}"


def export_estimator(estimator: Any) -> bytes:
    """Return the ONNX file: float32 [n, features] to the scores alone.

    Raises: ModelRefused: skl2onnx cannot, with the class that it does not know.
    """
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType
    from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator
    from sklearn.base import is_classifier

    name = type(estimator).__name__
    classifies = is_classifier(estimator)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = to_onnx(
                estimator,
                initial_types=[("X", FloatTensorType([None, estimator.n_features_in_]))],
                # A tensor, where it would give a list of dictionaries.
                options={"zipmap": False} if classifies else None,
                target_opset=OPSET,
            )
        except (MissingConverter, MissingShapeCalculator) as error:
            unknown = re.search(r"<class '([\w.]+)'>", str(error))
            raise ModelRefused(
                f"skl2onnx has no converter for {unknown[1] if unknown else name}; replace this "
                "step, or export it to ONNX in the training script with a converter of your own"
            ) from None
        except Exception as error:  # skl2onnx has no class for what else it cannot
            raise ModelRefused(f"skl2onnx cannot export {name}: {explain(error)}") from None
    scores = "probabilities" if classifies else "variable"
    if scores not in [output.name for output in model.graph.output]:
        raise ModelRefused(f"skl2onnx gives no scores for {name}")
    # What leads to the labels goes too: for some types of them it is a graph that does not load.
    return to_bytes(keep_outputs(model, (scores,)))


def _score(estimator: Any, x: Array) -> Array:
    """Return scikit-learn's own scores, float32 [n, classes or targets]."""
    from sklearn.base import is_classifier

    with warnings.catch_warnings():
        # Of feature names that the fit had and an array has not, and of the like.
        warnings.simplefilter("ignore")
        scores = estimator.predict_proba(x) if is_classifier(estimator) else estimator.predict(x)
    return np.asarray(scores, np.float32).reshape(len(x), -1)


def _describe_classes(estimator: Any) -> list[str]:
    from sklearn.base import is_classifier

    if not is_classifier(estimator):
        return []
    names = [str(name)[:40] for name in estimator.classes_[:MAX_NAMED]]
    more = ", …" if len(estimator.classes_) > MAX_NAMED else ""
    return [f"its scores are in the order of classes_: {', '.join(names)}{more}"]
