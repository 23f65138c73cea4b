r"""Every key of the state: sandbox, zero byte, one letter for the key space, then what orders it.

Numbers are big-endian, so byte order is number order. No name may hold a zero byte. This is the format on
disk: a key space is never given another shape, only new letters are added.

    P profile id                          envelope
    I namespace \\0 identity               profile id, epoch
    U digest of an update id              expiry, epoch milliseconds
    O flow \\0 bucket ordinal              block of exports (the ordinal is its first export's)
    S flow \\0 bucket ordinal              which exports of that block are settled
    H flow                                head of each bucket: no unsettled export lies before it
    J ordinal                             journal block (the ordinal is its first input's)
    L row                                 ledger block, one per settlement commit (the row is its first export's)
    G (J or L) column row                 page: what a run of such blocks holds (state/pages.py)
    D time number                         dead letter
    V flow \\0 profile id                  stale: the flow held back what changed (runtimes/embedded/overflow.py)
    W flow \\0 profile id                  discard: exports about the profile before an ordinal are not sent
    X due kind ordinal                    timers, by due time: update ids that expire
    E due ordinal                         timers, by due time: profiles of which a membership ends, 16 bytes each
    Q source                              position
    T                                     totals
    B run                                 backfill run
    C version                             configuration, canonical
    M name                                single facts: next ordinal, settlement batch, first ordinal after a restore
"""

from __future__ import annotations

from typing import Final

from headrace.core.model import Identity

PROFILE: Final = b"P"
IDENTITY: Final = b"I"
UPDATE_ID: Final = b"U"
OUTBOX: Final = b"O"
SETTLED: Final = b"S"
HEADS: Final = b"H"
JOURNAL: Final = b"J"
LEDGER: Final = b"L"
PAGE: Final = b"G"
DEAD_LETTER: Final = b"D"
STALE: Final = b"V"
DISCARD: Final = b"W"
TIMER: Final = b"X"
END: Final = b"E"
POSITION: Final = b"Q"
TOTALS: Final = b"T"
BACKFILL: Final = b"B"
CONFIGURATION: Final = b"C"
FACT: Final = b"M"

MOST: Final = (1 << 64) - 1


class Keys:
    """The keys of one sandbox.

    Attributes:
        prefix: Stands before all of them.
        identities: Stands before all of identities.
        profiles: Stands before all of envelopes.
        totals: Key of the totals.
        cursor: Key of the cursor.
        restored: Key of the first ordinal after a restore.
    """

    def __init__(self, sandbox: str = "prod") -> None:
        self.prefix = sandbox.encode() + b"\0"
        self.profiles = self.prefix + PROFILE
        self.identities = self.prefix + IDENTITY
        self.totals = self.prefix + TOTALS
        self.cursor = self.prefix + FACT + b"cursor"
        self.restored = self.prefix + FACT + b"restored"

    def profile(self, profile_id: str) -> bytes:
        """Key of an envelope."""
        return self.profiles + profile_id.encode()

    def identity(self, namespace: str, key: str) -> bytes:
        """Key of an identity's row."""
        return self.identities + f"{namespace}\0{key}".encode()

    def identity_of(self, key: bytes) -> Identity:
        """The identity whose row has a key."""
        namespace, _, found = key[len(self.identities) :].decode().partition("\0")
        return Identity(namespace, found)

    def update_id(self, digest: bytes) -> bytes:
        """Key of an update id that was seen."""
        return self.prefix + UPDATE_ID + digest

    def stale(self, flow_id: str, profile_id: str) -> bytes:
        """Key of a flow's stale mark of a profile."""
        return self.prefix + STALE + flow_id.encode() + b"\0" + profile_id.encode()

    def discard(self, flow_id: str, profile_id: str) -> bytes:
        """Key of what a flow does not send about a profile."""
        return self.prefix + DISCARD + flow_id.encode() + b"\0" + profile_id.encode()

    def bucket(self, space: bytes, flow_id: str, bucket: int) -> bytes:
        """Prefix of a bucket of the outbox or of its settled marks."""
        return self.prefix + space + flow_id.encode() + b"\0" + bucket.to_bytes(2, "big")

    def numbered(self, space: bytes, *numbers: int) -> bytes:
        """Key in a space ordered by numbers of 8 bytes."""
        return self.prefix + space + b"".join(n.to_bytes(8, "big") for n in numbers)

    def named(self, space: bytes, name: str) -> bytes:
        """Key in a space ordered by a name."""
        return self.prefix + space + name.encode()

    def space(self, space: bytes) -> tuple[bytes, bytes]:
        """(start, end) of a whole key space."""
        return self.prefix + space, self.prefix + bytes((space[0] + 1,))
