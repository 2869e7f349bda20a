"""What survives a restart, and where: bundles by their hash, and ``records``.

Every file is written beside, flushed, renamed, and its folder flushed; so at any moment a file is
the old one or the new one.
"""

import fcntl
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec import Struct

from edge_agent.records import Boots, Floor, Proof, Proofs, Record, read_sealed, seal
from edge_bundle.archive import Bundle, hash_file, read_bundle
from edge_bundle.disk import flush_folder, replace_file
from edge_bundle.errors import BundleRefused
from edge_wire.messages import PreviousBoot

BUNDLE: Final = ".bundle"
FOLDERS: Final = ("bundles", "partial", "models", "trust")


class StoreInUse(Exception):
    """Another agent has the store: stop that one first."""


class Store:
    """A folder of the device's own; one agent at a time uses it."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        """Make the folders that are not there.

        Raises: OSError: they cannot be made or written.
        """
        self.path = path
        self._max_bytes = max_bytes
        self._models: dict[str, str] = {}
        self._unlock: Callable[[], object] = lambda: None
        for folder in (path, *(path / name for name in FOLDERS)):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def lock(self) -> None:
        """Take the store for this process, until it ends, and clear what a crash left half done.

        Raises: StoreInUse: another process has it. OSError.
        """
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise StoreInUse(f"{self.path}: another agent uses this store") from None
        except BaseException:
            os.close(handle)
            raise
        # Also when this object goes, or a start that failed would keep the store.
        self._unlock = weakref.finalize(self, os.close, handle)
        for folder in (self.path, *(self.path / name for name in FOLDERS)):
            for left in folder.glob(".*.part"):
                left.unlink()

    def unlock(self) -> None:
        """Let another process take the store."""
        self._unlock()

    # --- bundles

    def bundle_file(self, sha256: str) -> Path:
        """Return where a bundle is or would be."""
        return self.path / "bundles" / f"{sha256}{BUNDLE}"

    def partial_file(self, blob: str) -> Path:
        """Return where a blob that is being fetched is kept."""
        return self.path / "partial" / f"{blob}.blob"

    def forget_partials(self, keep: set[str]) -> None:
        """Remove what was fetched of other blobs than these."""
        for file in (self.path / "partial").iterdir():
            if file.stem not in keep:
                file.unlink()

    def held(self) -> list[str]:
        """Return the sha256 of every bundle here."""
        return sorted(f.name.removesuffix(BUNDLE) for f in self._bundles())

    def held_of(self, model: str) -> list[str]:
        """Return the sha256 of every bundle of one model."""
        return [s for s in self.held() if self._model_of(s) == model]

    def remove(self, sha256: str) -> None:
        """Remove a bundle, if it is here."""
        self._models.pop(sha256, None)
        self.bundle_file(sha256).unlink(missing_ok=True)

    def open(self, sha256: str) -> Bundle:
        """Open a bundle.

        Raises: BundleRefused: not here, or not what it was.
        """
        try:
            bundle = read_bundle(self.bundle_file(sha256), sha256)
        except (FileNotFoundError, IsADirectoryError):
            raise BundleRefused(f"bundle {sha256[:12]} is not in the store") from None
        self._models[sha256] = bundle.manifest.name
        return bundle

    def take_in(self, source: Path) -> Bundle:
        """Copy a bundle file into the store.

        Raises: BundleRefused: damaged. OSError: not readable, or no room.
        """
        sha256 = read_bundle(source).sha256
        if not self.bundle_file(sha256).is_file() or hash_file(self.bundle_file(sha256)) != sha256:
            self.write(self.bundle_file(sha256), source.read_bytes())
        return self.open(sha256)

    def adopt(self, part: Path, sha256: str) -> Bundle:
        """Move a whole bundle that was written beside into its place.

        Raises: BundleRefused: it is not what it should be. OSError.
        """
        try:
            read_bundle(part, sha256)
            with part.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(part, self.bundle_file(sha256))
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        flush_folder(self.path / "bundles")
        return self.open(sha256)

    def make_room(self, length: int, keep: set[str]) -> bool:
        """Remove the bundles that came first until there is room; tell whether there is.

        Where even that would not do nothing is removed.

        Args:
            length: bytes that are needed.
            keep: sha256 of bundles that must stay.
        """
        files = sorted(self._bundles(), key=lambda f: f.stat().st_mtime_ns)
        sizes = {f.name.removesuffix(BUNDLE): f.stat().st_size for f in files}
        if sum(size for s, size in sizes.items() if s in keep) + length > self._max_bytes:
            return False
        total = sum(sizes.values())
        for sha256, size in sizes.items():
            if total + length <= self._max_bytes:
                break
            if sha256 not in keep:
                total -= size
                self.remove(sha256)
        return True

    # --- records

    def record(self, model: str) -> Record:
        """Return what is known of a model; nothing where the record is missing or damaged."""
        return read_sealed(self.path / "models" / f"{model}.json", Record) or Record()

    def save_record(self, model: str, record: Record) -> None:
        """Persist where a model stands, before it is acted on."""
        self._save(self.path / "models" / f"{model}.json", record)

    def floor(self) -> Floor | None:
        """Return the newest assignment that was accepted."""
        return read_sealed(self.path / "trust" / "floor.json", Floor)

    def raise_floor(self, floor: Floor) -> None:
        """Refuse older assignments from now on."""
        if floor != self.floor():
            self._save(self.path / "trust" / "floor.json", floor)

    def root_file(self) -> Path:
        """Return where the root of trust is; it is put there by hand."""
        return self.path / "trust" / "root.json"

    def is_proven(self, proof: Proof) -> bool:
        """Tell whether a bundle passed staging here with these versions."""
        return proof in self._proofs().passed

    def save_proof(self, proof: Proof) -> None:
        """Remember that a bundle passed staging."""
        passed = (*(p for p in self._proofs().passed if p != proof), proof)
        self._save(self.path / "proofs.json", Proofs(passed[-64:]))

    # --- boots

    def begin_boot(self) -> tuple[str, PreviousBoot | None]:
        """Count a start; return this boot's name, and how the one before ended."""
        file = self.path / "boot.json"
        before = read_sealed(file, Boots) or Boots()
        boot = f"{before.counter + 1:06d}-{os.urandom(8).hex()}"
        self._save(file, Boots(before.counter + 1, boot, clean=False))
        if not before.boot:
            return boot, None
        return boot, PreviousBoot(before.boot, before.clean, before.last_seq)

    def end_boot(self, last_seq: dict[str, int], *, clean: bool = True) -> None:
        """Record how far this boot's predictions came, and whether nothing is missing behind."""
        file = self.path / "boot.json"
        before = read_sealed(file, Boots) or Boots()
        self._save(file, Boots(before.counter, before.boot, clean=clean, last_seq=last_seq))

    # --- files

    def write(self, file: Path, data: bytes) -> None:
        """Replace a file of the store in one step that a power cut cannot halve."""
        replace_file(file, data)

    def _model_of(self, sha256: str) -> str:
        """Return which model a bundle is of; looked up once, for it is hashed to be opened."""
        if sha256 not in self._models:
            try:
                self.open(sha256)
            except BundleRefused:
                return ""
        return self._models[sha256]

    def _bundles(self) -> list[Path]:
        return [f for f in (self.path / "bundles").iterdir() if f.name.endswith(BUNDLE)]

    def _proofs(self) -> Proofs:
        return read_sealed(self.path / "proofs.json", Proofs) or Proofs()

    def _save(self, file: Path, value: Struct) -> None:
        self.write(file, seal(value))
