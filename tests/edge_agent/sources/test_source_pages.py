"""Every kind of source has a page, whose tables are ones that the agent takes."""

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest

from edge_agent import source_tables as tables
from tests.edge_agent.sources.given import open_table

ROOT = Path(__file__).parents[3]
PAGES = sorted((ROOT / "docs" / "sources").glob("*.md"))
TABLE = re.compile(r"^```toml\n\[\[source\]\]\nname = .*?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(page.stem, block) for page in PAGES for block in TABLE.findall(page.read_text())]


@pytest.mark.parametrize(("kind", "block"), BLOCKS)
def test_table_of_the_page_opens(
    tmp_path: Path, kind: str, block: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "replay":
        block = block.replace(
            "walk.npz#0-2,5", f"{ROOT / 'examples/watch/watch_example.npz'}#0-2,5"
        )
    # It would need PortAudio, which is a package of the system; nothing is called when it opens.
    monkeypatch.setitem(sys.modules, "sounddevice", ModuleType("sounddevice"))
    assert open_table(tmp_path, block).shape.rate_hz > 0


def test_every_kind_has_a_page_with_a_table_of_it() -> None:
    kinds = {str(k.__struct_config__.tag) for k in get_args(tables.Source)}
    assert kinds == {page.stem for page in PAGES}
    assert kinds == {kind for kind, _ in BLOCKS}
    for kind, block in BLOCKS:
        assert f'kind = "{kind}"' in block


def test_index_leads_to_every_page() -> None:
    index = (ROOT / "docs" / "sources.md").read_text()
    assert set(re.findall(r"\]\(sources/(\w+)\.md\)", index)) == {page.stem for page in PAGES}
