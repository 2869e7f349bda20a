"""A bundle as a file: the same inputs give the same bytes, and it is read as if it were hostile.

Nothing of an archive is believed before it is bounded: sizes, names and members are checked
against the directory of the ZIP and the manifest before any member is read.
"""

import hashlib
import os
import re
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from errno import EISDIR
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from edge_bundle import document
from edge_bundle.errors import BundleRefused
from edge_bundle.manifest import Manifest, Member

BUNDLE_MARK: Final = b"PK"
"""A bundle begins so, and no model file does."""
MANIFEST: Final = "manifest.json"
MAX_BUNDLE_BYTES: Final = 1 << 30
MAX_MEMBERS: Final = 16
MAX_DIRECTORY_BYTES: Final = MAX_MEMBERS * 512
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a ZIP can say; every member has it."""
LOCAL_HEADER_BYTES: Final = 30
END = struct.Struct("<4s4H2LH")
"""The last bytes of a ZIP without a comment: signature, disks, members, directory, comment."""
ZIP64_LOCATOR_BYTES: Final = 20
DAMAGE: Final = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What zipfile raises on damaged files, found by flipping every byte of one."""


class Bundle(Struct, frozen=True):
    """A bundle file whose structure has been checked; members are checked as they are read."""

    path: Path
    sha256: str
    """Of the whole file: the bundle's identity."""
    length: int
    manifest: Manifest

    def read(self, name: str) -> bytes:
        """Return one member's bytes.

        Raises: BundleRefused: if they are not what the manifest says.
        """
        member = self.manifest.files[name]
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(name) as file:
                # One byte more shows a longer one, and bounds what a swapped file may cost.
                data = file.read(member.length + 1)
        except (*DAMAGE, KeyError) as error:
            raise BundleRefused(f"{self.path}: {name}: {error}") from None
        found = hashlib.sha256(data).hexdigest()
        if found != member.sha256:
            raise BundleRefused(f"{self.path}: {name}: sha256 {found}, expected {member.sha256}")
        return data

    def model(self) -> bytes:
        """Return the model file's bytes."""
        return self.read(self.manifest.model)


def write_bundle(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Bundle:
    """Write ``NAME-VERSION-VARIANT.bundle`` into a folder; the file appears when it is whole.

    Args:
        folder: made if it is not there.
        manifest: its ``files`` is filled in from ``files``.
        files: members by name, without the manifest.
    Raises: BundleRefused: if the manifest contradicts itself, or no device would take the file.
        OSError: if it cannot be written.
    """
    listed = {
        name: Member(sha256=hashlib.sha256(data).hexdigest(), length=len(data))
        for name, data in files.items()
    }
    manifest = msgspec.structs.replace(manifest, files=listed)
    members = {MANIFEST: document.encode(manifest), **files}
    document.decode(members[MANIFEST])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / manifest.file_name
    handle, beside = tempfile.mkstemp(dir=folder, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as out:
            with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
                for name in sorted(members):
                    info = zipfile.ZipInfo(name, EPOCH)
                    info.create_system = 3  # or the bytes would differ between systems
                    info.external_attr = 0o644 << 16
                    archive.writestr(info, members[name])
            out.flush()
            os.fsync(out.fileno())
        os.chmod(beside, 0o644)
        bundle = read_bundle(Path(beside))
        os.replace(beside, path)
    except BundleRefused as error:
        Path(beside).unlink(missing_ok=True)
        raise BundleRefused(str(error).replace(beside, str(path))) from None
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
    return replace(bundle, path=path)


def hash_file(path: Path) -> str:
    """Return the sha256 of a file, read in pieces so that a large one needs little memory."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def read_bundle(path: Path, expected_sha256: str | None = None) -> Bundle:
    """Open a bundle and check all of its structure and hashes.

    Args:
        path: the file.
        expected_sha256: what it must be, where the caller knows.
    Raises: BundleRefused: damaged, unsafe, contradictory or not the expected one.
        FileNotFoundError: no such file. OSError: it cannot be opened, or is a folder.
    """
    length = path.stat().st_size
    if path.is_dir():
        raise IsADirectoryError(EISDIR, "is a directory, expected a bundle", str(path))
    if not path.is_file():
        raise BundleRefused(f"{path}: not a file")
    if length > MAX_BUNDLE_BYTES:
        raise BundleRefused(f"{path}: {length} bytes, at most {MAX_BUNDLE_BYTES}")
    sha256 = hash_file(path)
    if expected_sha256 is not None and sha256 != expected_sha256:
        raise BundleRefused(f"{path}: sha256 {sha256}, expected {expected_sha256}")
    try:
        _check_end(path, length)
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_members(path, members, length)
            manifest = _manifest(path, archive)
    except DAMAGE as error:
        raise BundleRefused(f"{path}: not a whole bundle: {error}") from None
    found = {m.filename: m.file_size for m in members if m.filename != MANIFEST}
    expected = {name: member.length for name, member in manifest.files.items()}
    if found != expected:
        wrong = min(found.items() ^ expected.items())[0]
        raise BundleRefused(f"{path}: {wrong}: the archive and manifest.json's files differ")
    bundle = Bundle(path, sha256, length, manifest)
    if expected_sha256 is None:
        # Nobody vouched for the whole file, so look at every member now rather than in use.
        for name in manifest.files:
            bundle.read(name)
    return bundle


def _check_end(path: Path, length: int) -> None:
    """Bound the directory: zipfile reads all of it before anybody can look at it."""
    with path.open("rb") as file:
        file.seek(max(0, length - END.size - ZIP64_LOCATOR_BYTES))
        tail = file.read()
    if len(tail) < END.size:
        raise BundleRefused(f"{path}: not a whole bundle: {length} bytes")
    signature, _, _, _, count, size, _, _ = END.unpack(tail[-END.size :])
    if signature != b"PK\5\6":
        raise BundleRefused(f"{path}: not a whole bundle: it does not end like a ZIP")
    if tail[:4] == b"PK\6\7":
        raise BundleRefused(f"{path}: a ZIP64 archive, no bundle is that large")
    if count > MAX_MEMBERS or size > MAX_DIRECTORY_BYTES:
        raise BundleRefused(f"{path}: {count} members, at most {MAX_MEMBERS}")


def _check_members(path: Path, members: list[zipfile.ZipInfo], length: int) -> None:
    names = [m.filename for m in members]
    if len(members) > MAX_MEMBERS:
        raise BundleRefused(f"{path}: {len(members)} members, at most {MAX_MEMBERS}")
    if len(set(names)) != len(names):
        raise BundleRefused(f"{path}: two members of one name")
    for member in members:
        if not SAFE_NAME.fullmatch(member.filename):
            raise BundleRefused(f"{path}: unsafe member name {member.filename[:80]!r}")
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise BundleRefused(f"{path}: {member.filename}: compressed or encrypted")
        if member.file_size != member.compress_size:
            raise BundleRefused(f"{path}: {member.filename}: sizes differ")
    if MANIFEST not in names:
        raise BundleRefused(f"{path}: no {MANIFEST}; is it a bundle?")
    _check_places(path, members, length)


def _check_places(path: Path, members: list[zipfile.ZipInfo], length: int) -> None:
    free = 0
    for member in sorted(members, key=lambda m: m.header_offset):
        if member.header_offset < free:
            raise BundleRefused(f"{path}: {member.filename}: members overlap")
        free = member.header_offset + LOCAL_HEADER_BYTES + len(member.filename) + member.file_size
    if free > length:
        raise BundleRefused(f"{path}: members reach to byte {free}, the file has {length}")


def _manifest(path: Path, archive: zipfile.ZipFile) -> Manifest:
    size = archive.getinfo(MANIFEST).file_size
    if size > document.MAX_MANIFEST_BYTES:
        raise BundleRefused(
            f"{path}: {MANIFEST}: {size} bytes, at most {document.MAX_MANIFEST_BYTES}"
        )
    try:
        return document.decode(archive.read(MANIFEST))
    except BundleRefused as error:
        raise BundleRefused(f"{path}: {error}") from None
