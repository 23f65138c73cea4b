"""Compress each record's data by itself, so that a consumer needs nothing but the record.

The marker is the format's own first bytes: 1F 8B for gzip, 28 B5 2F FD for zstd. A message of ours begins with
``{``, so a consumer can tell the three apart, and a stream may hold all of them.

Sources: RFC 1952, section 2.3.1; RFC 8878, section 3.1.1.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable

GZIP_MARK: Final = b"\x1f\x8b"
ZSTD_MARK: Final = b"\x28\xb5\x2f\xfd"
_GZIP_WINDOW: Final = 31
_GZIP_LEVEL: Final = 6
_ZSTD_LEVEL: Final = 3


def compressor(name: str) -> Callable[[bytes], bytes] | None:
    """What compresses one message; the same bytes for the same message, and no time in them.

    Args:
        name: none, gzip or zstd.

    Returns:
        A function that may be called from one thread; None for none.
    """
    if name == "gzip":
        return _gzip
    if name == "zstd":
        return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress
    return None


def _gzip(data: bytes) -> bytes:
    return zlib.compress(data, _GZIP_LEVEL, _GZIP_WINDOW)
