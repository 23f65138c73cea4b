"""Exports on their way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from headrace.core.model import Export
from headrace.destinations.base import Outcome
from headrace.destinations.block import Block


class Pending(msgspec.Struct, gc=False):
    """One export on its way.

    Attributes:
        key: Partition key.
        data: The message.
        lane: Profile id.
        export: The export itself.
        block: Where it is stored.
        index: Its place there.
        size: Bytes a request is charged for it: data and UTF-8 key.
        after: What must be settled first.
        kept: Bytes of the message that are kept besides, when the record holds another form of it.
        attempts: Writes so far.
        unknown: Of those, how many ended with its fate unknown.
        wait_s: The last back-off.
    """

    key: str
    data: bytes
    lane: str
    export: Export
    block: Block
    index: int
    size: int
    after: list[tuple[int, int]]
    kept: int = 0
    attempts: int = 0
    unknown: int = 0
    outcome: Outcome | None = None


def pending(export: Export, block: Block, index: int) -> Pending:
    """Wrap an export of a block."""
    key, data = export.key, export.data
    size = len(data) + (len(key) if key.isascii() else len(key.encode()))
    return Pending(key, data, export.profile_id, export, block, index, size, export.after)


def prepared(exports: Sequence[Pending], prepare: Callable[[bytes], bytes]) -> None:
    """Let the writer put each message into the form it is written in; what that takes is what counts."""
    for p in exports:
        data = prepare(p.data)
        p.kept = len(p.data)
        p.size += len(data) - p.kept
        p.data = data


class Halt(msgspec.Struct, frozen=True):
    """Why nothing of the flow is accepted: the destination's code and words."""

    code: str
    detail: str


class Counts(msgspec.Struct):
    """What happened on the way, since the start.

    Attributes:
        requests: Requests written.
        retried: Records written again after a certain refusal.
        possible_duplicates: Records written again although their fate was unknown.
        throttled: Refusals by code.
    """

    requests: int = 0
    retried: int = 0
    possible_duplicates: int = 0
    refusals: dict[str, int] = {}
