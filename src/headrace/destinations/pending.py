"""Exports on their way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headrace.core.model import Export
from headrace.destinations.base import Outcome
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
    """

    # A class of its own and no struct: compiled, the dispatcher reads its members without asking the type.
    __slots__ = ("after", "attempts", "block", "data", "discarded", "export", "index", "kept", "key", "lane",
                 "outcome", "size", "unknown")  # fmt: skip

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


def pending(export: Export, block: Block, index: int) -> Pending:
    """Wrap an export of a block."""
    return Pending(export, block, index)


def prepared(exports: Sequence[Pending], prepare: Callable[[bytes], bytes]) -> None:
    """Let the writer put each message into the form it is written in; what that takes is what counts."""
    for p in exports:
        data = prepare(p.data)
        p.kept = len(p.data)
        p.size += len(data) - p.kept
        p.data = data
