"""The terminal says the same as the page, in 80 columns."""

from convert.findings import Findings
from convert.report.sensitivity import tabulate_sensitivity
from convert.report.terminal import describe
from tests.convert.report.cases import CASES, damages, keyword_spotting, poisoned


def test_lines_fit_and_name_everything_tried() -> None:
    for case in CASES.values():
        findings: Findings = case()
        text = describe(findings)
        assert max(map(len, text.splitlines())) <= 80
        flat = " ".join(text.split())
        for c in findings.candidates:
            assert c.why in flat
            assert c.recipe in flat
        assert all(p.file in flat and p.sha256 in flat for p in findings.products)


def test_outcome_comes_first() -> None:
    text = describe(keyword_spotting())
    assert text.startswith("kws 1.2.0: Chosen: onnx-int8\n")
    assert " 1  ONNX int8      44,800     0.57     30.1  91.4 %   \u22120.11  chosen\n" in text
    assert "12 of 900 samples change their answer: 5 from right to wrong, 4 from" in text
    assert describe(CASES["nothing"]()).startswith("kws 1.2.0: Nothing met the budget\n")


def test_no_text_steers_the_terminal() -> None:
    text = describe(poisoned("\x1b[2J\x07\u202egnp"))
    assert all(c.isprintable() or c == "\n" for c in text)


def test_longer_bars_stand_for_more_damage() -> None:
    text = tabulate_sensitivity(damages(40, 2))
    lines = text.splitlines()[1:]
    assert max(map(len, text.splitlines())) <= 80
    assert len(lines) == 40
    bars = [line.count("█") for line in lines]
    assert bars == sorted(bars, reverse=True)
    assert bars[0] > bars[-1] == 0
    assert [line.endswith(" float") for line in lines] == [True, True, *[False] * 38]
    assert tabulate_sensitivity(()) == "no node was measured\n"
