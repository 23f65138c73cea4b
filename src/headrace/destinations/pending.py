"""Exports on their way, and what is asked of many of them at once.

Where C is compiled, the class and all that walks over many exports are its own (``core/native/pending.h``): an export
is looked at half a dozen times on its way, each time after thousands of others, and what an object costs then is to
be fetched from memory. What is here is the same in Python, and what anybody reads;
``tests/destinations/test_pending.py`` holds one against the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from headrace.core import plain
from headrace.core.ids import pack_ids
from headrace.core.model import Cause, Export
from headrace.destinations.base import Outcome, Record, Verdict
from headrace.destinations.block import Block

_NONE: Final = Outcome()


class Pending:
    """One export on its way.

    Args:
        export: The export.
        bucket: Where in the outbox it is to be.

    Attributes:
        ordinal: The export's, as all up to ``after``.
        lane: Profile id.
        export_id: 32 hexadecimal digits.
        seq: See ``core.model.Export``.
        version: Likewise.
        epoch: Likewise.
        key: Partition key.
        message: The message.
        cause: Why it was made.
        made_ms: Time of the batch that made it, epoch milliseconds.
        config: Version of the configuration.
        after: What must be settled first.
        bucket: Bucket of the outbox.
        data: The message, in the form that it is written in.
        size: Bytes a request is charged for it: data and UTF-8 key.
        kept: Bytes of the message that are kept besides, when the record holds another form of it.
        block: Where it is stored.
        index: Its place there.
        attempts: Writes so far.
        unknown: Of those, how many ended with its fate unknown.
        outcome: Of the last write; None before it.
        discarded: Why it was given up unsent (``core.reasons.DISCARDS``); "" for what was not.
        behind: The next of its lane, which waits for this one; see ``lanes``.
        last: At the head of a lane the last that waits behind it; None where none does.
    """

    __slots__ = (
        "after", "attempts", "behind", "block", "bucket", "cause", "config", "data", "discarded", "epoch",
        "export_id", "index", "kept", "key", "lane", "last", "made_ms", "message", "ordinal", "outcome", "seq",
        "size", "unknown", "version",
    )  # fmt: skip
    block: Block

    def __init__(self, export: Export, bucket: int) -> None:
        key, data = export.key, export.data
        self.ordinal = export.ordinal
        self.lane = export.profile_id
        self.export_id = export.export_id
        self.seq, self.version, self.epoch = export.seq, export.version, export.epoch
        self.key = key
        self.message = self.data = data
        self.cause: Cause = export.cause
        self.made_ms, self.config, self.after = export.made_ms, export.config, export.after
        self.bucket = bucket
        self.size = len(data) + (len(key) if key.isascii() else len(key.encode()))
        self.kept = self.index = self.attempts = self.unknown = 0
        self.outcome: Outcome | None = None
        self.discarded = ""
        self.behind: Pending | None = None
        self.last: Pending | None = None

    @property
    def export(self) -> Export:
        """The export itself."""
        return Export(
            self.ordinal, self.lane, self.export_id, self.seq, self.version, self.epoch, self.key, self.message,
            self.cause, self.made_ms, self.config, self.after,
        )  # fmt: skip


def sizes(exports: Sequence[Pending]) -> tuple[int, int]:
    """The bytes of their records, and those that are kept besides."""
    return sum([p.size for p in exports]), sum([p.kept for p in exports])


def fit(exports: Sequence[Pending], most: int, chars: int) -> bool:
    """Whether every record is of at most so many bytes, its key of one to so many characters."""
    for p in exports:
        length = len(p.key)
        if p.size > most or length > chars or not length:
            return False
    return True


def grouped(
    exports: list[Pending], encode: Callable[[Any], bytes]
) -> list[tuple[int, list[Pending], list[int], bytes]]:
    """Exports by bucket: each with its exports, their ordinals, and the bytes of the block that holds them.

    Args:
        exports: In order; how the buckets are first met is the order of the answer.
        encode: Encodes exports; C has it encode those whose bytes it did not make itself.
    """
    runs: dict[int, list[Pending]] = {}
    for p in exports:
        runs.setdefault(p.bucket, []).append(p)
    return [(bucket, run, [p.ordinal for p in run], encode([p.export for p in run])) for bucket, run in runs.items()]


def lie_in(exports: list[Pending], block: Block) -> None:
    """A block holds these, in order."""
    for index, p in enumerate(exports):
        p.block, p.index = block, index


def answered(exports: Sequence[Pending], outcomes: Sequence[Outcome]) -> list[Pending]:
    """Each was written once more, with this outcome; those that were refused."""
    refused: list[Pending] = []
    for p, outcome in zip(exports, outcomes, strict=True):
        p.attempts += 1
        p.outcome = outcome
        if outcome.verdict:
            refused.append(p)
    return refused


def settle(done: Sequence[Pending]) -> int:
    """Mark exports as settled in their blocks, neighbours of a block at once; the bytes that they took."""
    size = 0
    block: Block | None = None
    first = end = 0
    for p in done:
        size += p.size + p.kept
        index = p.index
        if block is p.block and index == end:
            end += 1
            continue
        if block is not None:
            block.settle(first, end)
        block, first, end = p.block, index, index + 1
    if block is not None:
        block.settle(first, end)
    return size


def blocks_of(done: Sequence[Pending]) -> list[Block]:
    """Their blocks, one for each run of them."""
    found: list[Block] = []
    for p in done:
        if not found or found[-1] is not p.block:
            found.append(p.block)
    return found


def unusual(done: Sequence[Pending]) -> tuple[int, list[Pending]]:
    """Of settled exports the bytes of those that were delivered at the first write, and the others."""
    others: list[Pending] = []
    size = 0
    for p in done:
        if p.attempts <= 1 and not p.discarded and p.outcome is not None and p.outcome.verdict == Verdict.DELIVERED:
            size += len(p.message)
        else:
            others.append(p)
    return size, others


def made_at(done: Sequence[Pending]) -> tuple[list[tuple[int, int]], list[Pending]]:
    """When they were made: (epoch milliseconds, how many) for each run; and those that cross an audience's border."""
    runs: list[tuple[int, int]] = []
    for p in done:
        if runs and runs[-1][0] == p.made_ms:
            runs[-1] = (p.made_ms, runs[-1][1] + 1)
        else:
            runs.append((p.made_ms, 1))
    return runs, [p for p in done if p.cause.joined or p.cause.left]


LedgerColumns = tuple[
    bytes, bytes, list[int], list[int], list[int], list[int], list[str], list[int], list[Cause], list[str], list[str],
    list[str], list[int],
]  # fmt: skip


def ledger_columns(done: Sequence[Pending]) -> LedgerColumns:
    """What the ledger keeps of settled exports, column by column.

    Ids of exports and profiles, 16 bytes each; ordinals, seqs, versions, epochs; versions of the configuration; when
    they were made; causes; shards, sequence numbers; why each was not taken; writes.
    """
    outcomes = [p.outcome or _NONE for p in done]
    return (
        pack_ids([p.export_id for p in done]), pack_ids([p.lane for p in done]),
        [p.ordinal for p in done], [p.seq for p in done], [p.version for p in done], [p.epoch for p in done],
        [p.config for p in done], [p.made_ms for p in done], [p.cause for p in done],
        [o.shard for o in outcomes], [o.sequence for o in outcomes],
        [p.discarded or o.code for p, o in zip(done, outcomes, strict=True)], [p.attempts for p in done],
    )  # fmt: skip


def columns(records: Sequence[Record]) -> tuple[list[bytes], list[str]]:
    """The data and the keys of records, each in order."""
    return [record.data for record in records], [record.key for record in records]


def pending(export: Export, block: Block, index: int) -> Pending:
    """An export of a block."""
    p = Pending(export, block.bucket)
    p.block, p.index = block, index
    return p


if plain.COMPILED and not TYPE_CHECKING:
    _native = plain.NATIVE
    Pending, pending = _native.Pending, _native.pending
    sizes, fit, grouped, lie_in, answered = (
        _native.sizes, _native.fit, _native.grouped, _native.lie_in, _native.answered,
    )  # fmt: skip
    settle, blocks_of, unusual, made_at, ledger_columns = (
        _native.settle, _native.blocks_of, _native.unusual, _native.made_at, _native.ledger_columns,
    )  # fmt: skip
    _columns = columns

    def columns(records):  # noqa: D103
        try:
            return _native.columns(records)
        except TypeError:  # records that are no exports
            return _columns(records)


def prepared(exports: Sequence[Pending], prepare: Callable[[bytes], bytes]) -> None:
    """Let the writer put each message into the form it is written in; what that takes is what counts."""
    for p in exports:
        data = prepare(p.data)
        p.kept = len(p.data)
        p.size += len(data) - p.kept
        p.data = data
