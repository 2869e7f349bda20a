"""What several tests of chunks, blobs and trust need."""

import hashlib


def sha256(data: bytes) -> str:
    """Return the hash that names these bytes on the wire."""
    return hashlib.sha256(data).hexdigest()
