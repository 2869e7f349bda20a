"""What an agent is made of, or the key of the configuration that keeps it from being made."""

import resource
from pathlib import Path

import pytest

from edge_agent.assembly import begin_boot, open_collection, open_store
from edge_agent.config import LoadedConfig, load_config
from edge_bundle.errors import ConfigError


def load(folder: Path, path: str) -> LoadedConfig:
    file = folder / "edge.toml"
    file.write_text(
        f'[device]\nid = "d1"\n[store]\npath = "{path}"\n'
        f'[capture]\npath = "{path}"\ndrifted = true\n'
    )
    return load_config(file)


@pytest.mark.parametrize("path", ["file", "file/below", "file/far/below"])
def test_file_in_the_place_of_a_folder_is_named(tmp_path: Path, path: str) -> None:
    file = tmp_path / "file"
    file.write_text("")
    loaded = load(tmp_path, path)
    for line, key, make in (
        (4, "store.path", lambda: open_store(loaded)),
        (6, "capture.path", lambda: open_collection(loaded, "boot")),
    ):
        with pytest.raises(ConfigError) as refused:
            make()
        place = f"{loaded.file}:{line}:1: {key}"
        assert str(refused.value) == f"{place}: {file}: is a file, expected a folder"


def test_boot_that_cannot_be_written_down_is_told_by_the_store_s_place(tmp_path: Path) -> None:
    loaded = load(tmp_path, "store")
    store = open_store(loaded)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(ConfigError) as refused:
            begin_boot(loaded, store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        store.unlock()
    assert str(refused.value) == f"{loaded.file}:4:1: store.path: {store.path}: File too large"


def test_folder_that_cannot_be_made_is_told_as_the_system_says(tmp_path: Path) -> None:
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    with pytest.raises(ConfigError, match=r"store\.path: .*nowhere: File exists"):
        open_store(load(tmp_path, "nowhere"))
    with pytest.raises(ConfigError, match=r"capture\.path: .*: File name too long"):
        open_collection(load(tmp_path, "n" * 300), "boot")
