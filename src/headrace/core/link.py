"""Find the profile that an update is about, and the profiles that it joins.

Holds always (tests/core/test_link.py):
    L1  Without guards, any order of the same links gives the same partition of identities.
    L2  The surviving profile is the one created first.
    L3  A refused stitch touches the primary identity's profile only, and moves no identity.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from headrace.core.model import Identity

_blake2b: Final = hashlib.blake2b
_sha256: Final = hashlib.sha256
_BLOCK_BYTES: Final = 64


class Row(NamedTuple):
    """What the identity index holds: the profile, and its epoch."""

    profile_id: str
    epoch: int


class Guards(NamedTuple):
    """What may not be joined.

    Attributes:
        most: Identities a profile.
        unstitchable: Lower-case namespaces that never join profiles (shared devices): an identity of one leads
            to a profile only where the update has no other, and stays where it was found first.
    """

    most: int = 50
    unstitchable: frozenset[str] = frozenset()


class Link:
    """The answer.

    Attributes:
        profile_id: The profile, or "" when it is to be made.
        absorbed: Profiles joined into it, oldest first.
        identities: Identities of the update that belong to it.
        refused: A guard kept identities apart.
    """

    __slots__ = ("absorbed", "identities", "profile_id", "refused")

    def __init__(
        self, profile_id: str, absorbed: tuple[str, ...], identities: list[Identity], *, refused: bool = False
    ) -> None:  # fmt: skip
        self.profile_id, self.absorbed, self.identities, self.refused = profile_id, absorbed, identities, refused


@functools.lru_cache(maxsize=4)
def _begun(key: bytes) -> tuple[Any, Any]:
    """HMAC-SHA-256 (RFC 2104) with a key of at most a block: its two hashes, each after the key."""
    block = key.ljust(_BLOCK_BYTES, b"\0")
    return _sha256(bytes([b ^ 0x36 for b in block])), _sha256(bytes([b ^ 0x5C for b in block]))


def name(key: bytes, identity: Identity, taken: int = 0) -> str:
    """A profile's id: keyed, so that nobody without the installation key can go back to the identity.

    Args:
        key: Installation key, 32 bytes.
        identity: The identity that names the profile.
        taken: The epoch, where a live profile of another origin already has the plain name.
    """
    text = f"{identity.namespace}\0{identity.id}" + (f"\0{taken}" if taken else "")
    # Begun once for all names: hmac.digest does it anew each time, which takes more than twice as long.
    begun = _begun(key)
    inner, outer = begun[0].copy(), begun[1].copy()
    inner.update(text.encode())
    outer.update(inner.digest())
    hashed: str = outer.hexdigest()
    return hashed[:32]


def link(
    identities: list[Identity], primary: Identity, rows: Mapping[Identity, Row | None], count: Callable[[str], int],
    guards: Guards,
) -> Link:  # fmt: skip
    """Decide which profile an update belongs to.

    Args:
        identities: The update's, n >= 1.
        primary: The one that leads, where not all may.
        rows: What the identity index holds for each of them.
        count: Profile id to its number of identities.
        guards: What may not be joined.
    """
    if len(identities) == 1:
        row = rows[identities[0]]
        return Link(row.profile_id if row else "", (), identities)
    stitching = ours = identities
    if guards.unstitchable:
        stitching = [i for i in identities if i.namespace not in guards.unstitchable] or [primary]
    owners = sorted({(row.epoch, row.profile_id) for i in stitching if (row := rows[i])})
    survivor = owners[0][1] if owners else ""
    if len(stitching) != len(identities):
        leading, joined = set(stitching), {pid for _, pid in owners}
        ours = [i for i in identities if i in leading or (row := rows[i]) is None or row.profile_id in joined]
    kept_apart = len(ours) != len(identities)
    if kept_apart and primary not in ours:
        return _refused(primary, rows)
    fresh = sum(rows[i] is None for i in ours)
    if (fresh or len(owners) > 1) and fresh + sum(count(pid) for _, pid in owners) > guards.most:
        return _refused(primary, rows)
    return Link(survivor, tuple(pid for _, pid in owners[1:]), ours, refused=kept_apart)


def _refused(primary: Identity, rows: Mapping[Identity, Row | None]) -> Link:
    row = rows[primary]
    return Link(row.profile_id if row else "", (), [primary], refused=True)


def digest(text: str) -> str:
    """32 hexadecimal digits over a text; the ids of exports."""
    return _blake2b(text.encode(), digest_size=16).hexdigest()
