"""The candidates as a reader meets them: in order, numbered, with the one that goes to devices."""

from dataclasses import dataclass
from typing import Final, Literal

from convert.findings import Candidate, Findings, Verdict

ORDER: Final[tuple[Verdict, ...]] = (
    "chosen",
    "kept",
    "behind",
    "slower",
    "missed",
    "failed",
    "not tried",
)
Tone = Literal["good", "plain", "bad", "faint"]
TONES: Final[dict[Verdict, Tone]] = {
    "chosen": "good",
    "kept": "good",
    "behind": "plain",
    "slower": "bad",
    "missed": "bad",
    "failed": "bad",
    "not tried": "faint",
}
FORMATS: Final = {"onnx": "ONNX", "tflite": "TFLite"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One candidate with the number that it has in the table and in every plot."""

    number: int
    candidate: Candidate

    @property
    def kind(self) -> str:
        """Such as ``ONNX int8``."""
        return f"{FORMATS[self.candidate.format]} {self.candidate.precision}"

    @property
    def tone(self) -> Tone:
        return TONES[self.candidate.verdict]


def list_entries(findings: Findings) -> list[Entry]:
    """Return all candidates: best verdicts first, small before large."""
    place = {verdict: i for i, verdict in enumerate(ORDER)}
    ranked = sorted(
        findings.candidates,
        key=lambda c: (
            place[c.verdict],
            _variant(c) != findings.chosen,
            c.bytes is None,
            c.bytes or 0,
        ),
    )
    return [Entry(number, c) for number, c in enumerate(ranked, 1)]


def find_final(findings: Findings) -> Candidate | None:
    """Return the candidate in the first bundle; None where nothing met the budget."""
    return next(
        (
            entry.candidate
            for entry in list_entries(findings)
            if entry.tone == "good" and _variant(entry.candidate) == findings.chosen
        ),
        None,
    )


def find_nearest(findings: Findings) -> Candidate | None:
    """Return the candidate that missed the budget by least, of those that were judged by it."""
    judged = [
        (c.difference.value, c)
        for c in findings.candidates
        if c.difference and c.verdict == "missed"
    ]
    return max(judged, key=lambda pair: pair[0])[1] if judged else None


def _variant(candidate: Candidate) -> str:
    return f"{candidate.format}-{candidate.precision}"
