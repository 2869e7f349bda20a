"""Every command in the README and the docs runs; what cannot is marked, with why, and counted."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.brokers import RunningBroker

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/README.md")),
        *(ROOT / "docs").rglob("*.md"),
    ]
)
SHELLS = {"sh", "bash", "shell", "console"}
NOT_RUN = re.compile(r"<!-- not run: (?P<why>.{10,}) -->")
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
DOCS_BROKER = "127.0.0.1:1883"
"""What the docs write; a test has a broker of its own on another port."""
NOT_RUN_AT_MOST = 5
MADE = {"build", "dist", "edgeward.egg-info"}
"""What commands make in a checkout, and so is not lent to them."""


@dataclass(frozen=True)
class Block:
    """One block of commands."""

    page: Path
    line: int
    body: str
    why_not: str | None


def read_blocks(page: Path) -> Iterator[Block]:
    """Yield the shell blocks of a page."""
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        if found["language"] in SHELLS:
            before = text[: found.start()].rstrip("\n").rpartition("\n")[2]
            mark = NOT_RUN.fullmatch(before)
            line = text.count("\n", 0, found.start()) + 1
            yield Block(page, line, found["body"], mark["why"] if mark else None)


BLOCKS = [block for page in PAGES for block in read_blocks(page)]


@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if any(b.page == p and not b.why_not for b in BLOCKS)],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_every_command_of_the_page_runs(
    page: Path, embedded: RunningBroker, tmp_path: Path
) -> None:
    """The blocks of a page run in turn, as a reader would type them, from the checkout."""
    script = "\n".join(b.body for b in BLOCKS if b.page == page and not b.why_not)
    script = script.replace(DOCS_BROKER, embedded.url.removeprefix("mqtt://"))
    # Background jobs end with the page; `build` stands where the docs put what they make.
    trap = "trap 'kill $(jobs -p) 2>/dev/null || true; wait || true' EXIT"
    wrapped = f"set -euo pipefail\n{trap}\n{script}"
    for entry in ROOT.iterdir():
        if not entry.name.startswith(".") and entry.name not in MADE:
            (tmp_path / entry.name).symlink_to(entry)
    lend_environment(tmp_path / ".venv")
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", "-c", wrapped],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert "Traceback" not in done.stderr


def lend_environment(folder: Path) -> None:
    """Let ``make`` find this environment, set up, where it would make its own."""
    folder.mkdir()
    for entry in Path(sys.prefix).iterdir():
        (folder / entry.name).symlink_to(entry)
    for stamp in (".made", ".demo", ".dev"):
        (folder / stamp).unlink(missing_ok=True)
        (folder / stamp).touch()


def test_what_is_not_run_is_marked_listed_and_few() -> None:
    skipped = [b for b in BLOCKS if b.why_not]
    for block in skipped:
        sys.stderr.write(f"not run: {block.page.name}:{block.line}: {block.why_not}\n")
    assert len(skipped) <= NOT_RUN_AT_MOST
    assert len(BLOCKS) > len(skipped)


def test_no_page_names_a_file_that_is_not_there() -> None:
    link = re.compile(r"\]\((?!https?://|#)([^)#]+)")
    targets = [(page, t) for page in PAGES for t in link.findall(page.read_text(encoding="utf-8"))]
    assert len(targets) > 5
    assert [(page.name, t) for page, t in targets if not (page.parent / t).exists()] == []
