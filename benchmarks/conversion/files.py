"""Files of many kinds that this machine has, as the tokens that magika takes."""

import hashlib
import os
import sysconfig
from collections import defaultdict
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np

from benchmarks.conversion.metrics import Array
from benchmarks.conversion.samples import Data, Samples

BLOCK, SIDE, PADDING, LEAST = 4096, 1024, 256, 8
"""magika 0.6.1, ``config.min.json`` of model v3_2: block_size, beg_size and end_size,
padding_token, min_file_size_for_dl."""
CALIBRATION, EVALUATION = 64, 1000
SUFFIXES = (
    "a asm awk bat bmp bz2 c cc cfg cmake cpp crt css csv cu diff dtd el eml f90 gif go gz h h5 hh "
    "hpp html ico icns inc ini ipynb java jar jpg js json jsonl l lua m4 mat md mo mp3 npy npz o "
    "onnx otf p patch pdf pem php pkl pl pm png po proto ps ps1 pxd py pyc pyi pyx r rb rs rst sh "
    "so sql srt svg tar tcl tex tif toml ts tsv ttf txt vim wasm wav webp whl woff woff2 xml xsl "
    "xz yaml yml zip"
)
"""Suffixes of the kinds that magika has a label for."""
LOOKED_AT = 60_000
LARGEST_BYTES = 64 << 20


def read_files(folders: "list[Path] | None" = None) -> Data:
    """Return the tokens of files: as many of each suffix as there are, none twice.

    Args:
        folders: to look in; None: Python's own, its packages and the system's shared files.
    Returns: x int32 [files, 2048], no labels.
    Raises: SystemExit: fewer files than the judgement needs.
    """
    seen: dict[bytes, Array] = {}
    for path in _one_of_each(folders or _usual_folders()):
        tokens = read_tokens(path)
        if tokens is not None:
            seen.setdefault(hashlib.sha256(tokens.tobytes()).digest(), tokens)
        if len(seen) == CALIBRATION + EVALUATION:
            break
    else:
        raise SystemExit(f"{len(seen)} different files, expected {CALIBRATION + EVALUATION}")
    x = np.stack(list(seen.values()))
    chosen = np.zeros(len(x), bool)
    chosen[np.linspace(0, len(x) - 1, CALIBRATION).round().astype(int)] = True
    return Data(Samples(x[chosen]), Samples(x[~chosen]))


def read_tokens(path: Path) -> "Array | None":
    """Return the first and the last 1,024 bytes between the white space, int32 [2048].

    Returns: None where the file cannot be read or magika would not ask its model.
    Source: magika 0.6.1, ``Magika._extract_features_from_seekable``.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            first = file.read(BLOCK).lstrip()
            file.seek(max(0, size - BLOCK))
            last = file.read(BLOCK).rstrip()
    except OSError:
        return None
    if size < LEAST or len(first) < LEAST:
        return None
    tokens = np.full(2 * SIDE, PADDING, np.int32)
    begin, end = first[:SIDE], last[-SIDE:]
    tokens[: len(begin)] = np.frombuffer(begin, np.uint8)
    tokens[2 * SIDE - len(end) :] = np.frombuffer(end, np.uint8)
    return tokens


def _usual_folders() -> list[Path]:
    python = sysconfig.get_paths()
    return [Path(python["stdlib"]), Path(python["purelib"]), Path("/usr/share"), Path("/usr/lib")]


def _one_of_each(folders: list[Path]) -> list[Path]:
    """Return one file of each suffix, then a second of each and so on."""
    known = frozenset(SUFFIXES.split())
    kinds: dict[str, list[Path]] = defaultdict(list)
    for folder in folders:
        left = LOOKED_AT // len(folders)
        for at, below, names in os.walk(folder):
            below.sort()
            for name in sorted(names):
                path = Path(at, name)
                if path.is_symlink() or not path.is_file():
                    continue
                kind = path.suffix.lower().removeprefix(".")
                if kind in known and path.stat().st_size <= LARGEST_BYTES:
                    kinds[kind].append(path)
                    left -= 1
            if left <= 0:
                break
    # By a hash of the name: neighbours in a folder are too much alike.
    mixed = [
        sorted(kinds[k], key=lambda p: hashlib.sha256(bytes(p)).digest()) for k in sorted(kinds)
    ]
    return [path for path in chain.from_iterable(zip_longest(*mixed)) if path is not None]
