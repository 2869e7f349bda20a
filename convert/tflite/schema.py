"""The flatbuffers schema of TFLite files, which ships with ai-edge-litert."""

from typing import Any

from ai_edge_litert import schema_py_generated


def __getattr__(name: str) -> Any:
    """Return a part of the schema."""
    return getattr(schema_py_generated, name)
