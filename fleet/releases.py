"""Takes bundles into the operator's folder: the file itself, and the blob that it travels as.

Both are named by their hash, so what is there is either right or replaced.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from edge_bundle.archive import Bundle, hash_file, read_bundle
from edge_bundle.disk import replace_file
from edge_bundle.errors import ArtifactRefused, ConfigError
from edge_wire.assignment import Encoding, Requires, Variant
from edge_wire.blob import encode_blob
from edge_wire.chunks import count_chunks
from fleet.folder import Folder
from fleet.registry import Registry, Release

MAX_VARIANTS: Final = 32


def read_version(paths: Sequence[Path]) -> list[Bundle]:
    """Open the bundles of one version.

    Raises: BundleRefused: one is none, or not for live samples. FileNotFoundError: one is not
        there. ConfigError: they are not variants of one version.
    """
    bundles = [read_bundle(path) for path in paths]
    if len(bundles) > MAX_VARIANTS:
        raise ConfigError(f"{len(bundles)} bundles, at most {MAX_VARIANTS} variants of a version")
    first = bundles[0].manifest
    seen: dict[str, Path] = {}
    for bundle in bundles:
        manifest = bundle.manifest
        manifest.expect_stream()
        if (manifest.name, manifest.version) != (first.name, first.version):
            raise ConfigError(
                f"{bundle.path} is {manifest.name} {manifest.version}, {bundles[0].path} is "
                f"{first.name} {first.version}; expected variants of one version"
            )
        if manifest.variant in seen:
            raise ConfigError(
                f"{bundle.path} and {seen[manifest.variant]} are both variant {manifest.variant}"
            )
        seen[manifest.variant] = bundle.path
    return bundles


def refuse_other_bytes(registry: Registry, bundle: Bundle) -> Release | None:
    """Return the release that a bundle already is, None where it is new.

    Raises: ArtifactRefused: the same name, version and variant was other bytes before.
    """
    manifest = bundle.manifest
    known = registry.find_release(manifest.name, manifest.version, manifest.variant)
    if known is not None and known.sha256 != bundle.sha256:
        raise ArtifactRefused(
            f"{bundle.path}: {manifest.name} {manifest.version} {manifest.variant} is known with "
            f"sha256 {known.sha256[:12]}, this is {bundle.sha256[:12]}: give it a new version"
        )
    return known


def take_in(
    folder: Folder, registry: Registry, bundle: Bundle, say: Callable[[str], None]
) -> Release:
    """Keep a bundle and its blob; what is there already is not made again.

    Raises: ArtifactRefused: the same name, version and variant was other bytes before.
    """
    known = refuse_other_bytes(registry, bundle)
    kept = folder.bundle(bundle.sha256)
    if not kept.exists() or hash_file(kept) != bundle.sha256:
        _copy(bundle, kept)
    if known is not None and read_index(folder, known.encoding) is not None:
        return known
    say(f"compressing {bundle.path.name}")
    blob, encoding = encode_blob(kept.read_bytes())
    replace_file(folder.blob(encoding.blob_sha256), blob)
    manifest = bundle.manifest
    release = Release(
        sha256=bundle.sha256,
        name=manifest.name,
        version=manifest.version,
        variant=manifest.variant,
        format=manifest.format,
        length=bundle.length,
        requires=Requires(manifest.requires.agent, (manifest.format,), manifest.requires.profiles),
        encoding=encoding,
        attempt=known.attempt if known else 1,
    )
    with registry.transaction():
        refuse_other_bytes(registry, bundle)  # another command may have been quicker
        registry.save_release(release)
    return release


def to_variant(release: Release) -> Variant:
    """Return a release as an assignment names it."""
    return Variant(release.variant, release.requires, release.sha256, release.length)


def read_index(folder: Folder, encoding: Encoding) -> bytes | None:
    """Return chunk 0 of a blob, made from its file; None where the file is not the blob."""
    try:
        with folder.blob(encoding.blob_sha256).open("rb") as file:
            hashes = [
                hashlib.sha256(file.read(encoding.chunk_bytes)).digest()
                for _ in range(count_chunks(encoding.length, encoding.chunk_bytes))
            ]
            whole = file.tell() == encoding.length and not file.read(1)
    except OSError:
        return None
    index = b"".join(hashes)
    right = hashlib.sha256(index).hexdigest() == encoding.index_sha256
    return index if whole and right else None


def _copy(bundle: Bundle, kept: Path) -> None:
    replace_file(kept, bundle.path.read_bytes())
    if hash_file(kept) != bundle.sha256:
        kept.unlink()
        raise ArtifactRefused(f"{bundle.path}: it changed while it was read")
