"""Ids of profiles and exports as bytes: 32 hexadecimal digits each, which lie on disk as 16 bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

ID_BYTES: Final = 16


def pack_ids(ids: Sequence[str]) -> bytes:
    """Ids as bytes, 16 each; zeros for one that is no id of ours (an operator may ask for anything)."""
    try:
        whole = bytes.fromhex("".join(ids))
        # All of one length: else what one has too much could make up for what another lacks.
        if len(whole) == ID_BYTES * len(ids) and len(set(map(len, ids))) <= 1:
            return whole
    except ValueError:
        pass
    return b"".join(_packed(one) for one in ids)


def _packed(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        return bytes(ID_BYTES)
    return found if len(found) == ID_BYTES and len(text) == 2 * ID_BYTES else bytes(ID_BYTES)


def unpack_id(column: bytes, index: int) -> str:
    """One id of a column; "" for zeros."""
    found = column[ID_BYTES * index : ID_BYTES * (index + 1)]
    return found.hex() if any(found) else ""
