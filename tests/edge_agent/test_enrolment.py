import sys
from pathlib import Path

import msgspec
import pytest

from edge_agent.__main__ import main
from edge_agent.enrolment import trust_root
from edge_agent.store import Store
from edge_bundle.errors import ConfigError
from edge_wire import trust

CONFIG = """
[device]
id = "d1"
[store]
path = "store"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "device.toml"
    file.write_text(CONFIG)
    return file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    file = tmp_path / "root.json"
    file.write_bytes(msgspec.json.encode(trust.make_root(trust.make_key())))
    return file


def test_a_root_is_put_into_the_store_as_it_is(config: Path, root: Path) -> None:
    written = trust_root(config, root)
    assert written.read_bytes() == root.read_bytes()
    assert written == Store(config.parent / "store", 1).root_file()


def test_a_new_root_replaces_the_old_one(config: Path, root: Path) -> None:
    trust_root(config, root)
    root.write_bytes(msgspec.json.encode(trust.make_root(trust.make_key())))
    assert trust_root(config, root).read_bytes() == root.read_bytes()


def test_a_root_can_be_given_to_a_running_agent(config: Path, root: Path) -> None:
    store = Store(config.parent / "store", 1)
    store.lock()
    assert trust_root(config, root).is_file()
    store.unlock()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "Root"),
        (b"not a root", "malformed|Root"),
        (b'{"v": 1, "keys": {"abc": {"keytype": "ed25519", "public": "00"}}}', "public"),
        (b'{"v": 2, "keys": {}}', "Root"),
        (b" " * (65 << 10), "at most"),
    ],
)
def test_what_is_no_root_is_refused_and_the_old_one_stays(
    config: Path, root: Path, data: bytes, why: str
) -> None:
    good = trust_root(config, root).read_bytes()
    root.write_bytes(data)
    with pytest.raises(ConfigError, match=why) as refused:
        trust_root(config, root)
    assert str(root) in str(refused.value)
    assert Store(config.parent / "store", 1).root_file().read_bytes() == good


def test_a_root_that_is_not_there_is_one_clear_line(config: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.json: No such file"):
        trust_root(config, config.parent / "nowhere.json")


def test_a_folder_is_no_root(config: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        trust_root(config, config.parent)


def test_a_store_that_cannot_be_made_is_one_clear_line(config: Path, root: Path) -> None:
    (config.parent / "store").write_text("a file")
    with pytest.raises(ConfigError, match=r"device\.toml:5:1: store\.path: .*: is a file"):
        trust_root(config, root)


def test_the_command_says_what_it_did(
    config: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["edge-agent", "trust", str(config), str(root)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    assert f"this device now trusts {root}" in capsys.readouterr().out


def test_the_command_ends_with_code_2_where_there_is_no_root(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["edge-agent", "trust", str(config), "nowhere.json"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert capsys.readouterr().err == "edge-agent: nowhere.json: No such file or directory\n"
