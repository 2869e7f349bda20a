"""A spec is refused by file, line, column and key."""

from pathlib import Path

import pytest

from convert.given.spec import EMPTY, read_spec
from edge_bundle.decision.rules import Classification, Events, Every, Score, Smoothing
from edge_bundle.errors import ConfigError
from edge_bundle.manifest import Requires
from tests.edge_bundle.bundles import EXAMPLES, STREAM

SPEC = EXAMPLES / "watch" / "stream.toml"


def refusal(folder: Path, old: str, new: str) -> str:
    file = folder / "s.toml"
    file.write_text(SPEC.read_text().replace(old, new))
    with pytest.raises(ConfigError) as error:
        read_spec(file)
    return str(error.value).removeprefix(str(file))


def test_example_fits() -> None:
    spec = read_spec(SPEC).spec
    assert spec.stream == STREAM
    assert isinstance(spec.decision, Classification)
    assert spec.decision.output == "probabilities"


def test_label_that_is_there_twice(tmp_path: Path) -> None:
    assert refusal(tmp_path, '"ABD"', '"PEN"') == ":20:1: decision.labels: 'PEN' stands there twice"


def test_channel_that_is_there_twice(tmp_path: Path) -> None:
    assert refusal(tmp_path, '"ay"', '"ax"') == ":8:1: stream.channels: 'ax' is there twice"


def test_feature_that_does_not_fit_the_channels(tmp_path: Path) -> None:
    step = '[[features]]\nkind = "standardise"\nmean = [0.0]\nstd = [1.0]\n\n[decision]'
    assert refusal(tmp_path, "[decision]", step) == (
        ":17:1: features[0]: 1 means and 1 deviations for 6 channels"
    )


def test_feature_without_a_stream(tmp_path: Path) -> None:
    step = '# first\n[[features]]\nkind = "standardise"\nmean = [0.0]\nstd = [1.0]\n'
    assert refusal(tmp_path, SPEC.read_text(), step) == (
        ":2:1: features[0]: works on the windows of a stream, and there is no [stream]"
    )


def test_mistyped_table(tmp_path: Path) -> None:
    assert refusal(tmp_path, "[decision]", "[decison]") == (
        ":17:1: decison: unknown key; did you mean 'decision'?"
    )


def test_stream_and_decision_may_be_missing(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('[requires]\nagent = "0.2.0"\n')
    spec = read_spec(file).spec
    assert (spec.stream, spec.decision, spec.requires) == (None, None, Requires("0.2.0"))
    file.write_text('[decision]\nlabels = ["no", "yes"]\n')
    decision = read_spec(file).spec.decision
    assert isinstance(decision, Classification)
    assert decision.labels == ("no", "yes")


def test_every_kind_of_decision_may_be_said(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text(
        """
[decision]
kind = "score"
labels = ["silence", "hey_jarvis"]
threshold = 0.97
smoothing = { method = "mean", windows = 5 }
predictions = { every_s = 1 }

[decision.events]
off = 0.5
refractory_s = 1
"""
    )
    assert read_spec(file).spec.decision == Score(
        ("silence", "hey_jarvis"),
        threshold=0.97,
        smoothing=Smoothing("mean", 5),
        predictions=Every(1),
        events=Events(off=0.5, refractory_s=1),
    )


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('kind = "guess"', "2:1: decision.kind: no value 'guess'; did you mean "),
        (
            'kind = "anomaly"\nthreshold = 1\nlabels = ["a", "b"]',
            "4:1: decision.labels: unknown key; known: threshold, method, ",
        ),
        (
            'kind = "regression"\nvalues = [{ name = "t", unit = "K", low = 3, high = 1 }]',
            "3:37: decision.values[0].low: 3, above high, 1",
        ),
        (
            'labels = ["a", "b"]\nevents = { debouce = 2 }',
            "3:12: decision.events.debouce: unknown key; did you mean 'debounce'?",
        ),
        (
            'labels = ["a", "b"]\nsmoothing = { method = "mean", windows = 1 }',
            "3:32: decision.smoothing.windows: 1, expected a whole number >= 2",
        ),
        (
            'labels = ["a", "b"]\npredictions = "some"',
            "3:1: decision.predictions: no value 'some'; known: ",
        ),
        (
            'labels = ["a", "b"]\npredictions = { every_s = 1e300 }',
            "3:17: decision.predictions.every_s: 1e300, expected a number <= 1e+09",
        ),
    ],
)
def test_decision_that_is_none_is_refused_at_its_key(tmp_path: Path, lines: str, said: str) -> None:
    file = tmp_path / "s.toml"
    file.write_text(f"[decision]\n{lines}\n")
    with pytest.raises(ConfigError) as refused:
        read_spec(file)
    assert str(refused.value).startswith(f"{file}:{said}")


def test_without_a_file_an_error_says_where_it_would_stand() -> None:
    assert EMPTY.spec.stream is None
    assert str(EMPTY.error(("decision", "output"), "must name one")) == (
        "decision.output: must name one; say it in a --spec"
    )
