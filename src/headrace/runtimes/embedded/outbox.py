"""One flow's outbox: what waits on disk in buckets, and as much of it in memory as the budget allows.

On disk a bucket is a run of blocks by ordinal; a block leaves when all of it is settled, and until then a
small mark says which exports are. In memory each bucket has its own cursor: one bucket that does not move
(its shard is throttled) never stands in the way of the others (I6).

Holds always (tests/runtimes/test_outbox.py checks each by its number):
    O1  An export is handed to the dispatcher once per life of the process, in ordinal order within its bucket.
    O2  Nothing is handed over before it is durable.
    O3  The head of a bucket is never after its first unsettled export, so reading starts behind what was settled.
    O4  Loaded bytes stay under the budget, but for one block a bucket; each bucket has an equal share of it, so
        that one whose shard is throttled cannot fill it.
    O5  ``stored_bytes`` is the size of all blocks that are not settled whole, after a restart too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec

from headrace.core.model import BUCKETS
from headrace.destinations.dispatch import Block, Dispatcher, Pending, pending
from headrace.destinations.pending import blocks_of, grouped, lie_in, sizes
from headrace.state.base import Batch, State
from headrace.state.keys import HEADS, OUTBOX, SETTLED, Keys
from headrace.state.records import decode_exports

_encode: Final = msgspec.msgpack.Encoder().encode
_OVERHEAD_BYTES: Final = 600
"""What an export takes in memory beside its message, about: objects, lane, block."""


_EXPORT_BYTES: Final = 1024
"""Taken for the size of an export until one was stored."""

_GONE: Final = 32
"""Settled blocks that may be listed behind one that waits, before the list is made anew."""

Staged = tuple[int, Block, list[Pending]]
"""A bucket, the block put into it, and the block's exports."""


class _Bucket:
    __slots__ = ("blocks", "cursor", "gone", "head", "loaded_bytes", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.blocks: deque[Block] = deque()
        self.cursor: int | None = None
        """Ordinal from which blocks are still on disk only; None when all are loaded."""
        self.head = 0
        self.loaded_bytes = 0
        self.gone = 0
        """Blocks behind the first that are settled whole: as long as it waits, they are still listed."""


class Outbox:
    """The outbox of one flow.

    Args:
        state: Where it lies.
        keys: Of its sandbox.
        flow_id: Whose exports.
        budget_bytes: Most to hold in memory.
    """

    def __init__(self, state: State, keys: Keys, flow_id: str, *, budget_bytes: int) -> None:
        self._state = state
        self._flow_id = flow_id
        self._share = budget_bytes // BUCKETS
        self.stored_bytes = 0
        self.export_bytes = _EXPORT_BYTES
        """Size on disk of an export, as the last ones had it."""
        self._buckets = [_Bucket(n) for n in range(BUCKETS)]
        self._outbox = [keys.bucket(OUTBOX, flow_id, n) for n in range(BUCKETS)]
        self._marks = [keys.bucket(SETTLED, flow_id, n) for n in range(BUCKETS)]
        self._heads_key = keys.named(HEADS, flow_id)
        self._touched: dict[tuple[int, int], Block] = {}
        self._durable = 0
        self._behind = 0
        self.dispatcher: Dispatcher | None = None

    # -- writing ----------------------------------------------------------------------------------

    def stage(self, batch: Batch, exports: list[Pending]) -> list[Staged]:
        """Put new exports into a batch, one block a bucket.

        Returns:
            What ``committed`` takes once the batch is durable.
        """
        staged: list[Staged] = []
        before = self.stored_bytes
        for bucket, run, ordinals, whole in grouped(exports, _encode):
            batch.put(self._outbox[bucket] + ordinals[0].to_bytes(8, "big"), whole)
            self.stored_bytes += len(whole)
            block = Block(bucket, ordinals, stored_bytes=len(whole), made_ms=run[0].made_ms)
            lie_in(run, block)
            staged.append((bucket, block, run))
        self.export_bytes = (self.stored_bytes - before) // max(len(exports), 1) + 1
        self._put_heads(batch)
        return staged

    def _put_heads(self, batch: Batch) -> None:
        batch.put(self._heads_key, _encode([*(b.head for b in self._buckets), self.stored_bytes]))

    def committed(self, staged: Sequence[Staged], durable: int) -> None:
        """Hand what is durable to the dispatcher, as far as memory allows; the rest stays on disk.

        Args:
            staged: From ``stage``.
            durable: Highest ordinal that is durable.
        """
        self._durable = durable
        ready: list[Pending] = []
        for number, block, run in staged:
            bucket = self._buckets[number]
            if bucket.cursor is None and (bucket.loaded_bytes < self._share or not bucket.blocks):
                ready += self._loaded(bucket, block, run)
            elif bucket.cursor is None:
                bucket.cursor = block.ordinals[0]
                self._behind += 1
        if ready:
            assert self.dispatcher is not None
            self.dispatcher.add(ready)

    # -- reading back -----------------------------------------------------------------------------

    def open(self, durable: int) -> None:
        """Start with what a former process left: every bucket is read from its head."""
        self._durable = durable
        stored = self._state.get_many([self._heads_key])[0]
        heads = msgspec.msgpack.decode(stored, type=list[int]) if stored else [0] * (BUCKETS + 1)
        self.stored_bytes = heads[BUCKETS]
        for bucket in self._buckets:
            bucket.head = heads[bucket.number]
            bucket.cursor = bucket.head
        self._behind = BUCKETS
        self.refill()

    def refill(self) -> None:
        """Load blocks from disk, bucket by bucket in turn, while memory allows."""
        if not self._behind:
            return
        ready: list[Pending] = []
        for bucket in self._buckets:
            # Reading in gulps: a block now and then would pay for a walk over the buckets each time.
            if bucket.cursor is None or (bucket.loaded_bytes >= self._share // 2 and bucket.blocks):
                continue
            while loaded := self._load(bucket):
                ready += loaded
                if bucket.loaded_bytes >= self._share:
                    break
        if ready:
            assert self.dispatcher is not None
            self.dispatcher.add(ready)
        if self.dispatcher is not None:
            self.dispatcher.recheck()

    def _loaded(self, bucket: _Bucket, block: Block, exports: list[Pending]) -> list[Pending]:
        block.loaded_bytes = sizes(exports)[0] + len(exports) * _OVERHEAD_BYTES
        bucket.loaded_bytes += block.loaded_bytes
        bucket.blocks.append(block)
        return exports

    def _load(self, bucket: _Bucket) -> list[Pending]:
        """The next block of a bucket, or nothing at its end (then the cursor is None)."""
        assert bucket.cursor is not None
        prefix = self._outbox[bucket.number]
        start = prefix + bucket.cursor.to_bytes(8, "big")
        end = prefix + (self._durable + 1).to_bytes(8, "big")
        for key, value in self._state.scan(start, end):
            exports = decode_exports(value)
            bucket.cursor = exports[-1].ordinal + 1
            mark = self._state.get_many([self._marks[bucket.number] + key[-8:]])[0]
            bits = int.from_bytes(mark, "little") if mark else 0
            block = Block(
                bucket.number, [e.ordinal for e in exports], bits, stored_bytes=len(value), made_ms=exports[0].made_ms
            )
            if not block.left:
                continue
            waiting = [pending(e, block, i) for i, e in enumerate(exports) if not bits >> i & 1]
            return self._loaded(bucket, block, waiting)
        bucket.cursor = None
        self._behind -= 1
        return []

    # -- settling ---------------------------------------------------------------------------------

    def unsettled(self, bucket: int, ordinal: int) -> bool:
        """True while that export waits, in memory or on disk."""
        b = self._buckets[bucket]
        if b.cursor is not None and ordinal >= b.cursor:
            return True
        for block in reversed(b.blocks):
            ordinals = block.ordinals
            if ordinals[-1] < ordinal:
                break
            if ordinals[0] <= ordinal:
                return ordinal in ordinals and not block.bits >> ordinals.index(ordinal) & 1
        return False

    def touch(self, settled: Sequence[Pending]) -> None:
        """Remember blocks whose settlement must be stored."""
        for block in blocks_of(settled):
            if not block.touched:
                block.touched = True
                self._touched[block.bucket, block.ordinals[0]] = block

    @property
    def dirty(self) -> bool:
        """True when settlements wait to be stored."""
        return bool(self._touched)

    def store_settled(self, batch: Batch) -> list[tuple[int, int, int]]:
        """Put the settlements since the last call into a batch.

        Returns:
            (bucket, first, last) of blocks that are settled whole.
        """
        if not self._touched:
            return []
        whole: list[tuple[int, int, int]] = []
        for (number, first), block in self._touched.items():
            block.touched = False
            ordinal = first.to_bytes(8, "big")
            if block.left:
                block.marked = True
                batch.put(
                    self._marks[number] + ordinal, block.bits.to_bytes((block.bits.bit_length() + 7) // 8, "little")
                )
                continue
            batch.delete(self._outbox[number] + ordinal)
            self.stored_bytes -= block.stored_bytes
            self._buckets[number].loaded_bytes -= block.loaded_bytes
            if block.marked:
                batch.delete(self._marks[number] + ordinal)
            self._buckets[number].gone += 1
            whole.append((number, first, block.ordinals[-1]))
        self._touched.clear()
        for number in {number for number, _, _ in whole}:
            self._advance(self._buckets[number])
        self._put_heads(batch)
        # A bucket that is empty now may read on, however full memory is; no settlement might follow that says so.
        self.refill()
        return whole

    def _advance(self, bucket: _Bucket) -> None:
        """Drop settled blocks off the front; the head follows."""
        blocks = bucket.blocks
        while blocks and not blocks[0].left:
            bucket.head = blocks.popleft().ordinals[-1] + 1
            bucket.gone -= 1
        if bucket.gone > max(_GONE, len(blocks) // 2):
            blocks = bucket.blocks = deque([block for block in blocks if block.left])
            bucket.gone = 0
        if blocks:
            bucket.head = blocks[0].ordinals[0]

    def oldest_ms(self) -> int | None:
        """When the oldest block with an export that waits was made, epoch milliseconds; None when none waits."""
        oldest: int | None = None
        for bucket in self._buckets:
            for block in bucket.blocks:
                if block.left:
                    if oldest is None or block.made_ms < oldest:
                        oldest = block.made_ms
                    break
        return oldest

    def lowest(self) -> int | None:
        """No unsettled export has an ordinal below this; None when there is none at all."""
        found: int | None = None
        for bucket in self._buckets:
            first = next((block.ordinals[0] for block in bucket.blocks if block.left), bucket.cursor)
            if first is not None and (found is None or first < found):
                found = first
        return found

    @property
    def behind(self) -> int:
        """Buckets with exports that are on disk only."""
        return self._behind
