"""Every topic of the contract, and who may stand in it; the table is in docs/wire.md."""

import re

from msgspec import Struct

from edge_wire.errors import MessageRefused

ROOT = "edge/v1"
IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

NAME = "1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit"
"""What ``IDENTIFIER`` takes, in words."""


def check_identifier(text: str) -> str:
    """Return a name that may stand between two slashes of a topic.

    Raises: ValueError: it is none.
    """
    if not IDENTIFIER.fullmatch(text):
        raise ValueError(f"{text[:80]!r}: expected {NAME}")
    return text


class Topics(Struct, frozen=True):
    """Builds topics below a root, and reads them back."""

    root: str = ROOT

    def desired(self, group: str) -> str:
        return f"{self.root}/fleet/{group}/desired"

    def chunk(self, blob: str, number: int | str) -> str:
        return f"{self.root}/blob/{blob}/c/{number}"

    def plan(self, blob: str) -> str:
        return f"{self.root}/blob/{blob}/plan"

    def device(self, device: str, kind: str) -> str:
        """``want``, ``availability``, ``info``, ``reported`` or ``loss`` of a device."""
        return f"{self.root}/dev/{device}/{kind}"

    def prediction(self, device: str, stream: str, model: str) -> str:
        return f"{self.root}/dev/{device}/pred/{stream}/{model}"

    def event(self, device: str, stream: str, model: str) -> str:
        return f"{self.root}/dev/{device}/event/{stream}/{model}"

    def state(self, device: str, stream: str, model: str) -> str:
        return f"{self.root}/dev/{device}/state/{stream}/{model}"

    def read_device(self, topic: str) -> tuple[str, str]:
        """Return (device, kind) of a device's topic.

        Raises: MessageRefused: it is no such topic.
        """
        name = IDENTIFIER.pattern
        of_model = r"(?:(?<=/pred)|(?<=/event)|(?<=/state))"
        below = rf"(?:{of_model}/{name}/{name})?"  # stream and model
        found = re.fullmatch(rf"{re.escape(self.root)}/dev/({name})/({name}){below}", topic)
        if not found:
            raise MessageRefused(f"{topic[:200]!r}: expected {self.root}/dev/DEVICE/KIND")
        return found[1], found[2]

    def read_chunk(self, topic: str) -> tuple[str, int]:
        """Return (blob, chunk number) of a chunk's topic.

        Raises: MessageRefused: it is no such topic.
        """
        name, number = r"[0-9a-f]{64}", r"0|[1-9][0-9]{0,6}"
        found = re.fullmatch(rf"{re.escape(self.root)}/blob/({name})/c/({number})", topic)
        if not found:
            raise MessageRefused(f"{topic[:200]!r}: expected {self.root}/blob/SHA256/c/NUMBER")
        return found[1], int(found[2])
