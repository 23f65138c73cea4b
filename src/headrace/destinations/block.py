"""The blocks that exports are stored in, and what of each is settled."""

from __future__ import annotations


class Block:
    """Exports that were stored together: which of them are settled.

    Attributes:
        bucket: Bucket of the outbox.
        ordinals: Ordinal of each export, growing.
        bits: Bit i is set when export i is settled.
        marked: A partial settlement is stored.
        touched: Settled further since the last store.
        stored_bytes: Size on disk.
        loaded_bytes: Size in memory, about.
        made_ms: When its first export was made.
    """

    __slots__ = ("bits", "bucket", "loaded_bytes", "made_ms", "marked", "ordinals", "stored_bytes", "touched")

    def __init__(
        self, bucket: int, ordinals: list[int], bits: int = 0, *, stored_bytes: int = 0, made_ms: int = 0
    ) -> None:
        self.bucket, self.ordinals, self.bits = bucket, ordinals, bits
        self.marked = bool(bits)
        self.touched = False
        self.stored_bytes = stored_bytes
        self.loaded_bytes = 0
        self.made_ms = made_ms

    def settle(self, first: int, end: int) -> None:
        """Exports *first* up to, not including, *end* are settled."""
        self.bits |= (1 << end) - (1 << first)

    @property
    def left(self) -> int:
        """Exports not settled yet."""
        return len(self.ordinals) - self.bits.bit_count()
