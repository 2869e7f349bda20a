"""Every table of docs/hardware.md is one that the agent takes, and every kind has one."""

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest

from edge_agent import source_tables as tables
from tests.edge_agent.sources.given import open_table

PAGE = Path(__file__).parents[3] / "docs" / "hardware.md"
BLOCKS = re.findall(
    r"^```toml\n\[\[source\]\]\nname = .*?\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL
)


@pytest.mark.parametrize("block", BLOCKS)
def test_table_of_the_page_opens(
    tmp_path: Path, block: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It would need PortAudio, which is a package of the system; nothing is called when it opens.
    monkeypatch.setitem(sys.modules, "sounddevice", ModuleType("sounddevice"))
    assert open_table(tmp_path, block).shape.rate_hz > 0


def test_every_kind_has_a_table_on_the_page() -> None:
    kinds = {str(k.__struct_config__.tag) for k in get_args(tables.Hardware)}
    assert kinds == set(re.findall(r'^kind = "(\w+)"', "\n".join(BLOCKS), re.MULTILINE))
