"""Exports on their way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headrace.core.model import Export
from headrace.destinations.base import Outcome, Record
from headrace.destinations.block import Block


class Pending:
    """One export on its way.

    Attributes:
        key: Partition key.
        data: The message, in the form that it is written in.
        lane: Profile id.
        export: The export itself.
        block: Where it is stored.
        index: Its place there.
        size: Bytes a request is charged for it: data and UTF-8 key.
        after: What must be settled first.
        kept: Bytes of the message that are kept besides, when the record holds another form of it.
        attempts: Writes so far.
        unknown: Of those, how many ended with its fate unknown.
        outcome: Of the last write; None before it.
        discarded: Why it was given up unsent (``core.reasons.DISCARDS``); "" for what was not.
        behind: The next of its lane, which waits for this one; see ``lanes``.
        last: At the head of a lane the last that waits behind it; None where none does.
    """

    # A class of its own and no struct: compiled, the dispatcher reads its members without asking the type.
    __slots__ = ("after", "attempts", "behind", "block", "data", "discarded", "export", "index", "kept", "key",
                 "lane", "last", "outcome", "size", "unknown")  # fmt: skip

    def __init__(self, export: Export, block: Block, index: int) -> None:
        key, data = export.key, export.data
        self.key = key
        self.data = data
        self.lane = export.profile_id
        self.export = export
        self.block = block
        self.index = index
        self.size = len(data) + (len(key) if key.isascii() else len(key.encode()))
        self.after = export.after
        self.kept = 0
        self.attempts = 0
        self.unknown = 0
        self.outcome: Outcome | None = None
        self.discarded = ""
        self.behind: Pending | None = None
        self.last: Pending | None = None

    @property
    def ordinal(self) -> int:
        """The export's, as its block has it."""
        return self.block.ordinals[self.index]


def pending(export: Export, block: Block, index: int) -> Pending:
    """Wrap an export of a block."""
    return Pending(export, block, index)


def pendings(exports: Sequence[Export], block: Block) -> list[Pending]:
    """Wrap all exports of a block, none of which is settled."""
    return [Pending(export, block, index) for index, export in enumerate(exports)]


def prepared(exports: Sequence[Pending], prepare: Callable[[bytes], bytes]) -> None:
    """Let the writer put each message into the form it is written in; what that takes is what counts."""
    for p in exports:
        data = prepare(p.data)
        p.kept = len(p.data)
        p.size += len(data) - p.kept
        p.data = data


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


def columns(records: Sequence[Record]) -> tuple[list[bytes], list[str]]:
    """The data and the keys of records, each in order."""
    datas: list[bytes] = []
    keys: list[str] = []
    for record in records:
        if isinstance(record, Pending):  # compiled, its members are read directly
            datas.append(record.data)
            keys.append(record.key)
        else:
            datas.append(record.data)
            keys.append(record.key)
    return datas, keys
