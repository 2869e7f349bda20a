"""What a model is once it leaves the lab, and the one path from raw window to decision."""

from typing import Final

VERSION: Final = "0.1.0"
"""Of the whole distribution: the agent that a bundle may require, and what commands print."""
