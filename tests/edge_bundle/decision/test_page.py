"""What docs/decisions.md shows is what the code does."""

import re
from pathlib import Path

import msgspec
import pytest

from convert.given.spec import read_spec
from edge_bundle.decision.events import TRANSITIONS, Phase, Sign
from edge_wire.messages import Event

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "decisions.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
SPECS = [block for block in BLOCKS if "[decision" in block]
CLASSES = '[decision]\nlabels = ["idle", "walking"]\n'


@pytest.mark.parametrize("block", SPECS)
def test_every_table_of_the_page_is_taken(block: str, tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text(block if block.startswith("[decision]") else CLASSES + block)
    assert read_spec(file).spec.decision is not None


def test_table_of_phases_is_the_codes() -> None:
    signs = [
        Sign.FOR,
        Sign.PROVEN,
        Sign.AGAINST,
        Sign.DISPROVEN,
        Sign.BROKEN,
        Sign.RESTED,
    ]
    shown = re.findall(r"^\| (quiet|rising|active|falling|resting) \|(.*)\|$", PAGE, re.MULTILINE)
    assert [name for name, _ in shown] == [phase.value for phase in Phase]
    for name, cells in shown:
        row = TRANSITIONS[Phase(name)]
        found = [cell.split(":")[0].strip() for cell in cells.split("|")]
        assert found == [row[sign].value if sign in row else "" for sign in signs]


def test_example_of_an_event_is_one() -> None:
    wire = (DOCS / "wire.md").read_text(encoding="utf-8")
    (example,) = (b for b in re.findall(r"```json\n(.*?)```", wire, re.DOTALL) if '"id"' in b)
    event = msgspec.json.decode(example, type=Event)
    assert msgspec.json.decode(msgspec.json.encode(event)) == msgspec.json.decode(example)
