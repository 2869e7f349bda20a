"""``edge-fleet init`` makes a fleet once, and keeps its secrets."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edge_bundle.errors import ConfigError
from edge_wire import trust
from edge_wire.credentials import BrokerTable
from fleet.folder import Folder, read_settings
from fleet.operations import init
from tests.fleet.world import call_command, one_document, run_command


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_init_makes_a_fleet_without_a_broker_and_says_what_is_next(tmp_path: Path) -> None:
    folder = tmp_path / "a fleet"
    done = run_command("init", "--dir", str(folder), "--broker", "mqtt://127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    assert f"edge-agent trust CONFIG.toml {folder / 'root.json'}" in done.stdout
    assert {p.name for p in folder.iterdir() if p.is_file()} == {
        "fleet.toml",
        "signing.key",
        "root.json",
        "fleet.db",
    }
    assert mode(folder) == 0o700
    assert [mode(folder / n) for n in ("fleet.toml", "signing.key", "fleet.db")] == [0o600] * 3
    root = trust.read_root((folder / "root.json").read_bytes())
    assert root == trust.make_root(trust.read_key(folder / "signing.key"))


def test_init_refuses_to_make_a_fleet_over_another(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    init(tmp_path, BrokerTable("mqtt://one:1"))
    key = folder.key.read_bytes()
    done = call_command("--dir", str(tmp_path), "init", "--broker", "mqtt://other:1")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "is there already" in done.stderr
    assert folder.key.read_bytes() == key
    assert "one" in folder.settings.read_text()


def test_init_takes_its_folder_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWARD_FLEET", str(tmp_path / "here"))
    done = call_command("init", "--broker", "mqtt://127.0.0.1:1", "--json")
    assert one_document(done.stdout)["folder"] == str(tmp_path / "here")


@pytest.mark.parametrize(
    ("table", "named"),
    [
        (BrokerTable("http://x"), "--broker: 'http://x': expected mqtt://"),
        (BrokerTable("mqtt://x", root="a/#"), "--root-topic: 'a/#'"),
        (BrokerTable("mqtt://x", root="/a"), "--root-topic: '/a'"),
        (BrokerTable("mqtts://x", ca="no.pem"), "--ca: "),
    ],
)
def test_a_wrong_option_is_named_and_nothing_is_made(
    tmp_path: Path, table: BrokerTable, named: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        init(tmp_path / "f", table)
    assert str(refused.value).startswith(named)
    assert not (tmp_path / "f").exists()


def test_an_init_that_fails_leaves_nothing_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "bundles").write_text("in the way")
    with pytest.raises(ConfigError, match="bundles"):
        init(tmp_path, BrokerTable("mqtt://x"))
    assert [p.name for p in tmp_path.iterdir()] == ["bundles"]


def test_settings_come_back_as_they_were_given(tmp_path: Path) -> None:
    secret = tmp_path / 'pass "word".txt'
    secret.write_text("hunter2\n")
    secret.chmod(0o600)
    table = BrokerTable("mqtts://h:1", root="x/y", user="Zoë 😀", password_file=str(secret))
    folder = init(tmp_path / "f", table)
    read, broker = read_settings(folder)
    assert read == table
    assert (broker.user, broker.password, broker.address()) == ("Zoë 😀", "hunter2", ("h", 1, True))


def test_a_password_that_others_may_read_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o644)
    with pytest.raises(ConfigError, match="others may read it"):
        init(tmp_path / "f", BrokerTable("mqtt://h", password_file=str(secret)))


def test_a_mistyped_key_in_the_settings_is_named_with_its_place(tmp_path: Path) -> None:
    folder = init(tmp_path, BrokerTable("mqtt://h"))
    folder.settings.write_text('[broker]\nurl = "mqtt://h"\nusre = "x"\n')
    done = call_command("status", "--dir", str(tmp_path))
    assert done.returncode == 2
    assert f"{folder.settings}:3:1: broker.usre: unknown key; did you mean 'user'?" in done.stderr


def test_a_folder_without_a_fleet_is_said_with_what_to_do(tmp_path: Path) -> None:
    done = call_command("status", "--dir", str(tmp_path))
    assert done.returncode == 2
    assert "edge-fleet init" in done.stderr


def test_a_signing_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    folder = init(tmp_path, BrokerTable("mqtt://h"))
    folder.key.chmod(0o644)
    done = call_command("status", "--dir", str(tmp_path))
    assert done.returncode == 3
    assert "chmod 600" in done.stderr


def test_a_damaged_registry_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = init(tmp_path, BrokerTable("mqtt://h"))
    folder.database.write_bytes(b"not a database at all" * 100)
    done = call_command("status", "--dir", str(tmp_path))
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1


def test_help_loads_nothing_heavy() -> None:
    heavy = {"rich", "paho", "cryptography", "sqlite3", "zstandard", "numpy", "msgspec"}
    code = f"import sys, fleet.__main__; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
