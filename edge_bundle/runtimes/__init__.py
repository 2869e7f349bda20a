"""Runtimes behind one protocol. Importing this room loads none of them."""

from typing import Final

MAX_THREADS: Final = 1024
"""Of one inference: a runtime makes as many as it is told, or fails on the number."""
