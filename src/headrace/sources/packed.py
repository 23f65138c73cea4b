"""One update out of the bytes of a record: gzip and zstd are undone, the size is bounded.

What looks compressed and is not, is an update as it is: the core then says what is wrong with it.
"""

from __future__ import annotations

from typing import Final

import zstandard

from headrace.core.model import MAX_UPDATE_BYTES
from headrace.sources.inflate import MAGIC as GZIP
from headrace.sources.inflate import BadGzipError, inflate

HEAD_BYTES: Final = 65_536
"""What is kept of an update over the limit."""
_ZSTD: Final = b"\x28\xb5\x2f\xfd"


def plain(data: bytes) -> tuple[bytes, str]:
    """An update's own bytes, and why it cannot be one.

    Returns:
        The bytes and nothing; or its beginning and what is wrong: it is larger than an update may be.
    """
    try:
        if data[:2] == GZIP:
            inflated = inflate(data, MAX_UPDATE_BYTES)
            if inflated is None:
                return data[:HEAD_BYTES], f"inflated it is over the limit of {MAX_UPDATE_BYTES:,} bytes"
            data = inflated
        elif data[:4] == _ZSTD:
            reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(data)
            inflated = reader.read(MAX_UPDATE_BYTES + 1)
            if len(inflated) > MAX_UPDATE_BYTES:
                return data[:HEAD_BYTES], f"inflated it is over the limit of {MAX_UPDATE_BYTES:,} bytes"
            data = inflated
    except (BadGzipError, zstandard.ZstdError):
        return data, ""
    if len(data) > MAX_UPDATE_BYTES:
        return data[:HEAD_BYTES], f"the record has {len(data):,} bytes, the limit is {MAX_UPDATE_BYTES:,}"
    return data, ""
