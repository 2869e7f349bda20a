"""Starts the agent: what has to be right before anything of it is imported."""

import gc
import logging
import sys
from pathlib import Path


def launch(config: Path, *, verbose: bool = False) -> None:
    """Run the agent that a configuration describes, until SIGINT or SIGTERM.

    Raises: ConfigError, ArtifactRefused: what the configuration says or names cannot be used.
    """
    # What a start makes stays: to look through it for garbage is a tenth of the start.
    gc.disable()
    # From here, and not from deep within: Python's stack of frames grows by pieces, and a loop at
    # the edge of one fetches and gives back memory at each call. NumPy took 45 ms more for that.
    import numpy as np  # noqa: F401

    from edge_agent.config import load_config
    from edge_agent.service import run_service

    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    run_service(load_config(config))
