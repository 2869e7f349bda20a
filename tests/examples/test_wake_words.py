"""The four wake words that PyPI's pymicro-wakeword ships, by the specs that a user can copy.

The committed clip is heard by the model of its phrase alone, through pack, ring, slot and decision.
"""

from importlib.resources import files
from pathlib import Path

import msgspec
import pytest

from convert.given.spec import read_spec
from convert.pack import PackOrder, pack
from edge_agent.replay import Replay
from edge_bundle.decision.rules import Score, Smoothing
from tests.convert.classifier import Told
from tests.parts import require_module

ROOT = Path(__file__).parents[2]
CLIP = ROOT / "examples" / "wake_word" / "hey_jarvis.wav"
REAL_MODELS = ROOT / "benchmarks" / "real_models"
SPECS = {
    "hey_jarvis": ROOT / "examples" / "wake_word" / "stream.toml",
    "alexa": REAL_MODELS / "alexa.toml",
    "hey_mycroft": REAL_MODELS / "hey_mycroft.toml",
    "okay_nabu": REAL_MODELS / "okay_nabu.toml",
}
MODELS = Path(str(files("pymicro_wakeword"))) / "models"


def test_every_packaged_phrase_has_a_spec() -> None:
    assert {file.stem for file in MODELS.glob("*.tflite")} == set(SPECS)


@pytest.mark.parametrize("phrase", SPECS)
def test_spec_decides_as_the_model_s_json_says(phrase: str) -> None:
    told = msgspec.json.decode((MODELS / f"{phrase}.json").read_bytes())["micro"]
    decision = read_spec(SPECS[phrase]).spec.decision
    assert isinstance(decision, Score)
    assert decision.labels[1] == phrase
    assert decision.threshold == told["probability_cutoff"]
    assert decision.smoothing == Smoothing("mean", told["sliding_window_size"])


@pytest.mark.parametrize("phrase", sorted(SPECS.keys() - {"hey_jarvis"}))
def test_model_without_a_clip_here_is_given_the_sound_as_the_one_that_has_one(phrase: str) -> None:
    heard, other = (read_spec(SPECS[name]).spec for name in ("hey_jarvis", phrase))
    assert other.stream == heard.stream
    assert other.features == heard.features


@pytest.mark.parametrize("phrase", SPECS)
def test_clip_is_heard_by_the_model_of_its_phrase_alone(phrase: str, tmp_path: Path) -> None:
    require_module("ai_edge_litert")
    order = PackOrder(MODELS / f"{phrase}.tflite", SPECS[phrase], out=tmp_path)
    made = list(Replay(pack(order, Told()).bundle, str(CLIP)).run())
    assert any(m.decision.label == phrase for m in made) == (phrase == "hey_jarvis")
    events = [note for m in made for note in m.notes if note.kind == "event"]
    assert bool(events) == (phrase == "hey_jarvis")


@pytest.mark.parametrize("file", sorted(REAL_MODELS.glob("*.toml")), ids=lambda f: f.stem)
def test_spec_beside_the_benchmark_is_whole(file: Path) -> None:
    spec = read_spec(file).spec
    assert spec.stream is not None
    assert spec.decision is not None
