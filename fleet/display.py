"""How results and progress look to people; nothing of it decides anything.

Devices write some of this text, so control characters, which could steer a terminal, are replaced.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from fleet.following import DeviceResult, Progress
from fleet.status import Status
from fleet.watching import Verdict

if TYPE_CHECKING:
    from rich.table import Table

MAX_CELL = 100


def clean(text: object) -> str:
    """Return text that a terminal shows and does not obey, of bounded length."""
    shown = "".join(c if c.isprintable() else "?" for c in str("" if text is None else text))
    return shown if len(shown) <= MAX_CELL else shown[: MAX_CELL - 1] + "…"


def columns(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in plain text."""
    lines = [list(head), *([clean(cell) or "-" for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    padded = ("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def show_results(devices: Sequence[DeviceResult]) -> str:
    """Return how it ended on each device; nothing where there are none."""
    if not devices:
        return ""
    rows = [(d.device, d.state, d.version, d.seconds, d.reason, d.detail) for d in devices]
    return columns(("DEVICE", "STATE", "VERSION", "SECONDS", "REASON", "DETAIL"), rows) + "\n"


def show_status(status: Status) -> str:
    """Return one line for each model of each device."""
    rows: list[Sequence[object]] = []
    for d in status.devices:
        said = (d.device, d.availability, d.group)
        # A device that refused its assignment as a whole says why beside every model.
        for name, m in d.models.items():
            reason = d.reason or m.reason
            rows.append((*said, name, m.version, m.state, reason, _age(d.age_s)))
        if not d.models:
            rows.append((*said, None, None, None, d.reason, _age(d.age_s)))
    if not rows:
        return "no device has been seen\n"
    head = ("DEVICE", "AVAILABLE", "GROUP", "MODEL", "VERSION", "STATE", "REASON", "AGE")
    return columns(head, rows) + "\n"


@contextmanager
def show_progress() -> Iterator[Progress]:
    """Give what says on stderr what happens: a live table on a terminal, else lines."""
    if not sys.stderr.isatty() or find_spec("rich") is None:
        yield lambda event: click.echo(_line(event), err=True)
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    verdicts: dict[str, Verdict] = {}
    with Live(console=console, refresh_per_second=8, transient=True) as live:

        def show(event: "str | Verdict") -> None:
            if isinstance(event, str):
                live.console.print(clean(event), style="dim", highlight=False, markup=False)
            else:
                verdicts[event.device] = event
                live.update(_live_table(verdicts, max(3, console.height - 5)))

        yield show


@contextmanager
def show_steps(steps: int, err: bool) -> Iterator[Callable[..., None]]:
    """Give what prints lines, above a bar that counts steps where a person looks at it.

    Args:
        steps: how many there are.
        err: whether the lines go to stderr.
    """
    stream = sys.stderr if err else sys.stdout
    if not stream.isatty() or find_spec("rich") is None:

        def write(text: str, _step: int | None = None) -> None:
            click.echo(text, err=err)
            stream.flush()

        yield write
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=err)
    looks = SpinnerColumn(), TextColumn("step {task.completed} of {task.total}"), BarColumn()
    with Progress(*looks, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task("demo", total=steps)

        def show(text: str, step: int | None = None) -> None:
            if step is not None:
                progress.update(task, completed=step)
            style = "bold" if step is not None else None
            progress.console.print(text, style=style, markup=False, highlight=False)

        yield show


def _line(event: "str | Verdict") -> str:
    if isinstance(event, str):
        return clean(event)
    parts = [event.state, event.version and f"runs {event.version}", event.reason, event.detail]
    return f"{clean(event.device)}: {', '.join(clean(p) for p in parts if p)}"


def _live_table(verdicts: dict[str, Verdict], height: int) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table("device", "state", "version", "reason", box=None, header_style="bold")
    # Those that changed last are the interesting ones of a large fleet.
    shown = sorted(verdicts.values(), key=lambda v: -v.at)[:height]
    for verdict in sorted(shown, key=lambda v: v.device):
        cells = (verdict.device, verdict.state, verdict.version, verdict.reason)
        table.add_row(*(Text(clean(cell)) for cell in cells))
    if len(verdicts) > len(shown):
        table.add_row(f"and {len(verdicts) - len(shown)} more")
    return table


def _age(age_s: float | None) -> str | None:
    if age_s is None:
        return None
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if age_s >= 2 * seconds:
            return f"{age_s / seconds:.0f} {unit}"
    return f"{age_s:.0f} s"
