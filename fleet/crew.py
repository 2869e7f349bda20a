"""The processes of the demo: started, listened to, and none of them left behind."""

import json
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from edge_bundle.interrupts import INTERRUPTS
from fleet.errors import RolloutStopped

STOP_S: Final = 8.0
"""How long a process may take to end in order."""


class Say(Protocol):
    """Takes what a person reads."""

    def __call__(self, text: str, step: int | None = None) -> None:
        """Show a line; ``step`` is which of ``STEPS`` it begins."""


@dataclass(slots=True)
class Crew:
    """Runs processes and, whatever happens, stops them."""

    say: Say
    processes: list[subprocess.Popen[Any]] = field(default_factory=list)

    def command(self, module: str, *arguments: str) -> dict[str, Any]:
        """Run one of the three commands with ``--json`` and return what it said.

        Raises: RolloutStopped: it did not end well.
        """
        result: dict[str, Any] = json.loads(self.run(module, *arguments, "--json"))
        return result

    def run(self, module: str, *arguments: str) -> str:
        """Run one of the three commands and return its stdout; its stderr is said as it comes.

        Raises: RolloutStopped: it did not end well.
        """
        command = [sys.executable, "-m", module, *arguments]
        child = self.start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        listener = self.listen(child)
        out: str = child.stdout.read() if child.stdout else ""
        child.wait()
        listener.join()
        self.processes.remove(child)
        if child.returncode:
            raise RolloutStopped(f"{module} {arguments[0]} ended with {child.returncode}")
        return out

    def start(self, command: list[str], **options: Any) -> "subprocess.Popen[Any]":
        """Start a process that Ctrl-C does not reach: it is stopped by us, in order."""
        with INTERRUPTS.put_off():
            child = subprocess.Popen(command, start_new_session=True, text=True, **options)
            self.processes.append(child)
        return child

    def listen(self, child: "subprocess.Popen[Any]") -> threading.Thread:
        """Say, indented, what a process writes on stderr; returns the thread that does."""

        def pass_on() -> None:
            for line in child.stderr or ():
                self.say(f"     {line.rstrip()}")

        thread = threading.Thread(target=pass_on, name="listener", daemon=True)
        thread.start()
        return thread

    def stop(self, children: "list[subprocess.Popen[Any]]") -> None:
        """End processes politely, then not."""
        for child in children:
            if child.poll() is None:
                child.terminate()
        for child in children:
            try:
                child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            if child in self.processes:
                self.processes.remove(child)

    def stop_all(self) -> None:
        """End all processes; a second Ctrl-C does not stop the stopping."""
        with INTERRUPTS.put_off():
            self.stop(list(reversed(self.processes)))
