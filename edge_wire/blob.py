"""A bundle as it travels: compressed whole, with bounds that hold before anything is believed."""

import hashlib
from pathlib import Path
from typing import Final

from edge_wire.assignment import Encoding
from edge_wire.chunks import make_index
from edge_wire.errors import MessageRefused

WINDOW_LOG: Final = 20
"""A device needs at most 1 MiB to decompress."""
CHUNK_BYTES: Final = 64 << 10
"""Below every broker's usual limit, AWS IoT's 128 KiB among them."""


def encode_blob(bundle: bytes, chunk_bytes: int = CHUNK_BYTES) -> tuple[bytes, Encoding]:
    """Compress a bundle and describe the result."""
    import zstandard  # only who sends or fetches a bundle needs it, which a device does rarely

    parameters = zstandard.ZstdCompressionParameters.from_level(
        19, window_log=WINDOW_LOG, source_size=len(bundle)
    )
    blob = zstandard.ZstdCompressor(compression_params=parameters).compress(bundle)
    encoding = Encoding(
        blob_sha256=hashlib.sha256(blob).hexdigest(),
        encoding="zstd",
        length=len(blob),
        chunk_bytes=chunk_bytes,
        index_sha256=hashlib.sha256(make_index(blob, chunk_bytes)).hexdigest(),
    )
    return blob, encoding


def decode_blob(blob: Path, target: Path, length: int, sha256: str) -> None:
    """Decompress a blob into a file, writing no more than the signed length.

    Args:
        blob: the whole blob, whose chunks were checked.
        target: file to write; on failure it is removed.
        length: bytes that the release says the bundle has.
        sha256: hash that the release says the bundle has.
    Raises: MessageRefused: another length or hash, or not zstd. OSError: it cannot be written.
    """
    import zstandard

    digest, written = hashlib.sha256(), 0
    try:
        with blob.open("rb") as source, target.open("wb") as out:
            reader = zstandard.ZstdDecompressor(max_window_size=1 << WINDOW_LOG).stream_reader(
                source
            )
            while piece := reader.read(min(1 << 16, length - written + 1)):
                written += len(piece)
                if written > length:
                    raise MessageRefused(f"blob: more than the signed {length} bytes")
                digest.update(piece)
                out.write(piece)
        if written != length or digest.hexdigest() != sha256:
            raise MessageRefused(
                f"blob: {written} bytes with sha256 {digest.hexdigest()}, "
                f"expected {length} with {sha256}"
            )
    except zstandard.ZstdError as error:
        target.unlink(missing_ok=True)
        raise MessageRefused(f"blob: {error}") from None
    except BaseException:
        target.unlink(missing_ok=True)
        raise
