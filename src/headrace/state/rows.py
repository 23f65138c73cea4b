"""Blocks of journal and ledger as they are read for a few of their rows: what these do not need stays encoded.

A block is decompressed whole, which costs little; to make values of all its columns costs ten times as much and more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, overload

import msgspec

from headrace.core.model import Cause
from headrace.state import records


class JournalRows(records.JournalBlock, array_like=True):
    """A journal block as a few of its inputs are read: what was decided, most of what it costs, stays encoded."""

    decisions: list[msgspec.Raw] = msgspec.field(default_factory=list)  # type: ignore[assignment]

    def held(self, place: int) -> tuple[str, ...]:
        """What was decided about one input: of ``JournalBlock.decisions``."""
        return _decode_decision(self.decisions[self.decision[place]])


class _LedgerRows(records.LedgerBlock, array_like=True):
    """A ledger block whose causes stay encoded."""

    cause: list[msgspec.Raw]  # type: ignore[assignment]


class _Causes(Sequence[Cause]):
    """Causes of which each is decoded when it is looked at."""

    def __init__(self, encoded: Sequence[msgspec.Raw]) -> None:
        self._encoded = encoded

    @overload
    def __getitem__(self, place: int) -> Cause: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Cause]: ...
    def __getitem__(self, place: int | slice) -> Cause | Sequence[Cause]:
        """One, or some of them."""
        return _Causes(self._encoded[place]) if isinstance(place, slice) else _decode_cause(self._encoded[place])

    def __len__(self) -> int:
        """How many there are."""
        return len(self._encoded)


_decode_journal: Final = msgspec.msgpack.Decoder(JournalRows).decode
_decode_ledger: Final = msgspec.msgpack.Decoder(_LedgerRows).decode
_decode_decision: Final = msgspec.msgpack.Decoder(tuple[str, ...]).decode
_decode_cause: Final = msgspec.msgpack.Decoder(Cause).decode


def journal_rows(stored: bytes) -> JournalRows:
    """Read a journal block for a few of its inputs."""
    return _decode_journal(records.unpacked(stored))


def ledger_rows(stored: bytes) -> records.LedgerBlock:
    """Read a ledger block for a few of its exports: each cause is decoded when it is looked at."""
    block: records.LedgerBlock = _decode_ledger(records.unpacked(stored))
    block.cause = _Causes(block.cause)  # type: ignore[arg-type]
    return block
