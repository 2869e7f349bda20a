"""The page says what was found, is whole in itself, and no text breaks out of it."""

import re
from collections.abc import Iterator
from functools import cache

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.findings import Findings, decode, encode
from convert.report.page import render_page, render_sensitivity
from convert.report.wording import clean
from tests.convert.report.cases import CASES, confuse, damages, keyword_spotting, poisoned
from tests.convert.report.reading import Page, read_pictures

TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "div", "p", "h1", "h2", "h3"),
    *("dl", "dt", "dd", "ol", "li", "b", "small", "span", "code", "details", "summary"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td", "figure", "figcaption"),
    *("svg", "desc", "line", "text", "circle", "rect", "path", "polyline"),
}


@pytest.fixture(params=CASES, name="findings")
def _findings(request: pytest.FixtureRequest) -> Findings:
    return CASES[request.param]()


def test_page_is_whole_in_itself(findings: Findings) -> None:
    page = render_page(findings)
    read = Page(page)
    assert read.tags <= TAGS
    assert not re.search(r"https?:|url\(|@import|\bsrc=|\bhref=|\bon\w+=|javascript", page)
    assert len(page.encode()) < 200_000
    names = [attributes["id"] for _, attributes in read.attributes if "id" in attributes]
    assert len(names) == len(set(names))
    assert all("scope" in attributes for tag, attributes in read.attributes if tag == "th")


def test_every_picture_is_xml_with_a_title_and_a_description(findings: Findings) -> None:
    page = render_page(findings)
    pictures = read_pictures(page)
    assert len(pictures) == page.count("<svg") > 0
    for title, svg in pictures.items():
        described = svg.get("aria-labelledby", "").split()
        assert [e.get("id") for e in (svg.find("title"), svg.find("desc")) if e is not None] == (
            described
        )
        assert title
        assert len(svg.findtext("desc") or "") > 10


def test_report_is_the_same_from_its_own_file(findings: Findings) -> None:
    assert render_page(decode(encode(findings))) == render_page(findings)


@cache
def _tame_skeleton() -> list[tuple[str, ...]]:
    return Page(render_page(poisoned("x"))).skeleton


@settings(max_examples=40)
@given(text=st.text(max_size=40) | st.sampled_from(["</style><script>", "'\"><b onload=x>", "]]>"]))
def test_no_text_breaks_out_of_the_page(text: str) -> None:
    page = render_page(poisoned(text))
    read = Page(page)
    assert read.skeleton == _tame_skeleton()
    assert clean(text) in read.text
    read_pictures(page)


def test_figures_shown_are_the_figures_found() -> None:
    rows = Page(render_page(keyword_spotting())).find_table("Everything that was tried").rows
    assert len(rows) == 1 + 12
    assert rows[1][0] == "1"
    assert rows[1][2:7] == [
        "44,800",
        "0.57 148 µs",
        "30.1",
        "91.4 % [89.4 %, 93.1 %] of 900",
        "\u22120.11 [\u22120.76, +0.54] 12 flips",
    ]
    by_verdict = [row[-1].split()[0] for row in rows[1:]]
    assert by_verdict == sorted(
        by_verdict, key=["chosen", "behind", "slower", "missed", "not"].index
    )
    why = {c.why for c in keyword_spotting().candidates}
    assert {row[-1].split(" ", 2 if "not tried" in row[-1] else 1)[-1] for row in rows[1:]} == why


def test_page_opens_with_the_verdict() -> None:
    text = Page(render_page(keyword_spotting())).text
    assert "Chosen: onnx-int8" in text
    assert "44,800 bytes instead of 102,635 (2.29 times smaller), 0.57 of float's time" in text
    assert "is within the budget of 1.0 points: proven" in text
    assert "Nothing met the budget" in Page(render_page(CASES["nothing"]())).text
    assert "Float is kept: onnx-float" in Page(render_page(CASES["float"]())).text
    assert "There are no labels" in Page(render_page(CASES["agreement"]())).text


def test_products_and_data_are_named_with_their_digests(findings: Findings) -> None:
    text = Page(render_page(findings)).text
    digests = [findings.source_sha256, findings.evaluation.sha256]
    assert all(d in text for d in [*digests, *(p.sha256 for p in findings.products)])
    assert all(explanation in text for explanation in findings.explanations)
    assert findings.measured_on in text


@pytest.mark.parametrize("classes", [2, 12, 40, 41, 214])
def test_confusion_fits_any_number_of_classes(classes: int) -> None:
    confusion = confuse(classes, 3000, 2700, 40, 20)
    page = render_page(msgspec.structs.replace(keyword_spotting(), confusion=confusion))
    heats = page.count('class="heat"')
    assert heats == (2 if classes <= 40 else 0)
    assert len(page.encode()) < 200_000
    if heats:
        first, second = (t for t in Page(page).tables if "of 3,000 samples right" in t.caption)
        assert first.caption == "float: 2,700 of 3,000 samples right"
        assert second.caption == "onnx-int8: 2,680 of 3,000 samples right"
        shown = [[int(cell.replace(",", "") or 0) for cell in row[1:]] for row in first.rows[1:]]
        assert shown == [list(row) for row in confusion.float]


def test_cells_that_changed_say_by_how_much() -> None:
    confusion = keyword_spotting().confusion
    assert confusion
    page = render_page(keyword_spotting())
    pairs = zip(sum(confusion.float, ()), sum(confusion.final, ()), strict=True)
    changes = [(after, after - before) for before, after in pairs if after != before]
    cells = re.findall(r'changed">(\d+)<small>([+\u2212]\d+)<', page)
    assert [(int(n), int(c.replace("\u2212", "-"))) for n, c in cells] == changes


def test_three_hundred_nodes_are_drawn_and_listed() -> None:
    page = render_sensitivity("magika", damages(300, 3))
    read = Page(page)
    assert len(page.encode()) < 150_000
    assert [len(svg.findall(".//circle")) for svg in read_pictures(page).values()][1] > 200
    rows = read.find_table("Nodes, worst first").rows[1:]
    assert len(rows) == 300
    lost = [float(row[2]) for row in rows if row[2] != "nothing lost"]
    assert lost == sorted(lost)
    assert [row[-1] for row in rows].count("yes") == 3


def test_nothing_tried_and_nothing_measured_still_make_a_page() -> None:
    bare = msgspec.structs.replace(
        keyword_spotting(), chosen=None, candidates=(), sensitivity=(), confusion=None, products=()
    )
    assert "Nothing was tried" in Page(render_page(bare)).text
    assert "No node was measured" in Page(render_sensitivity("m", ())).text


def _luminance(colour: str) -> float:
    digits = colour if len(colour) == 6 else "".join(2 * c for c in colour)
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _palettes() -> Iterator[dict[str, str]]:
    for rule in re.findall(r":root\{(.*?)\}", render_sensitivity("m", ()), re.DOTALL):
        yield dict(re.findall(r"--(\w+):#(\w+)", rule))


def test_text_can_be_read_in_light_and_dark() -> None:
    palettes = list(_palettes())
    assert len(palettes) == 2
    for colours in palettes:
        for text in ("ink", "soft", "good", "bad"):
            for ground in ("paper", "sheet"):
                light = sorted(_luminance(colours[c]) + 0.05 for c in (text, ground))
                assert light[1] / light[0] >= 4.5, (text, ground)
