"""A part that is required and missing fails a test; one that may be missing skips it."""

import sys

import pytest

from tests.parts import PARTS, require_module


@pytest.mark.parametrize("module", PARTS)
def test_missing_module_fails_where_it_is_required_and_skips_elsewhere(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setenv("EDGEWARD_REQUIRE", "mosquitto")
    with pytest.raises(pytest.skip.Exception, match=r"pip install"):
        require_module(module)
    monkeypatch.setenv("EDGEWARD_REQUIRE", f"mosquitto,{PARTS[module][0]}")
    with pytest.raises(pytest.fail.Exception, match=r"is required and missing"):
        require_module(module)
