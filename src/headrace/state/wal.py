"""Looks at RocksDB's log and manifest before RocksDB opens them: on some torn ends its own reader never returns.

Both are a row of blocks, of records within each: checksum (4 bytes), length (2, little-endian), type (1), payload.
Some types are only written where logs are used again, which ours never are. When RocksDB meets one of them in a log
that did not begin so, it reads the same place again and again (facebook/rocksdb issue 13333), whatever the recovery
mode, and nothing in the process goes on. Such a byte is nothing that Headrace wrote: the disk or a crash left it.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Final

_BLOCK: Final = 32 << 10
"""Bytes of a block; a record never goes over its end."""

_HEADER: Final = 7
"""Bytes of a record before its payload."""

_ENDLESS: Final = frozenset({5, 6, 7, 8, 11, 131})
"""Types of logs that are used again: full, first, middle, last, size of timestamps, previous log."""

_FULL: Final = 1
"""The type of a record that lies whole in its block."""


def readable(db: Path) -> list[tuple[Path, int]]:
    """Make RocksDB's reader return from each log and manifest of a database, with its own verdict on what is damaged.

    A type that it cannot pass becomes that of a usual record. The checksum covers the type, so RocksDB takes the
    record for what it is: cut short at the end of the log, or damaged, and then the recovery mode decides.

    Args:
        db: RocksDB's own folder, held by nobody. A file being written has no such type, and is left as it is.

    Returns:
        Where a byte was changed: file and offset.

    Raises:
        OSError: One cannot be read, or not be written where that is needed.
    """
    changed = []
    for path in sorted((*db.glob("*.log"), *db.glob("MANIFEST-*"))):
        try:
            found = _endless(path)
        except FileNotFoundError:  # another process holds the folder and needs it no more: RocksDB says so itself
            continue
        if found:
            with open(path, "r+b") as file:
                for at in found:
                    file.seek(at)
                    file.write(bytes((_FULL,)))
        changed += [(path, at) for at in found]
    return changed


def _endless(path: Path) -> list[int]:
    """Offsets of the types on which RocksDB would not return, block by block as it reads them."""
    size = path.stat().st_size
    if not size:
        return []
    found = []
    with open(path, "rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as content:
        for block in range(0, size, _BLOCK):
            at, end = block, min(block + _BLOCK, size)
            while at + _HEADER <= end:
                length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
                if kind in _ENDLESS:
                    found.append(at + 6)
                if length == kind == 0:  # the rest of the block was made ready and not written
                    break
                at += _HEADER + length
    return found
