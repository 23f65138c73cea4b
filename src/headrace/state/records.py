"""What is stored beside envelopes: journal, totals, dead letters, ledger. Field order is the format: append only."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import zstandard

from headrace.core.model import Export

_encode: Final = msgspec.msgpack.Encoder().encode
_COMPRESS: Final = zstandard.ZstdCompressor(level=1)
_EXPAND: Final = zstandard.ZstdDecompressor()

UPDATE: Final = 0
TICK: Final = 1
BACKFILL: Final = 2
DELETE: Final = 3
REPLAY: Final = 4
REPEAT: Final = 5
"""Kinds of journaled inputs; REPEAT is an update that was recognised by its id and changed nothing."""


class JournalBlock(msgspec.Struct, array_like=True):
    """The inputs of one batch, in order: enough to decide everything again.

    Attributes:
        first: Ordinal of the first input.
        now_ms: Time of the batch, epoch milliseconds.
        config: Version of the configuration.
        kinds: Kind of each input.
        bodies: The raw update, or the other input encoded, of each.
        sources: Which source each came from, as an index into ``names``.
        names: Ids of sources.
    """

    first: int
    now_ms: int
    config: str
    kinds: bytes
    bodies: list[bytes]
    sources: bytes
    names: list[str]


class FlowTotals(msgspec.Struct):
    """Counts of one flow since the folder was made. accepted = exported + sum(held).

    exported = delivered + dead_lettered + pending + sum(discarded).
    """

    accepted: int = 0
    exported: int = 0
    delivered: int = 0
    dead_lettered: int = 0
    held: dict[str, int] = {}
    discarded: dict[str, int] = {}
    triggers: dict[str, int] = {}
    possible_duplicates: int = 0
    retried: int = 0
    bytes: int = 0

    @property
    def pending(self) -> int:
        """Exports that wait in the outbox."""
        return self.exported - self.delivered - self.dead_lettered - sum(self.discarded.values())


class Totals(msgspec.Struct):
    """All counts since the folder was made, stored with every commit.

    received = accepted + repeats + sum(refused).

    Attributes:
        received: Inputs that came in: updates, and what operators and timers added.
        accepted: Inputs that were applied.
        repeats: Updates recognised by their id.
        refused: Updates refused, by reason.
        notes: What else happened, by code.
        profiles: Profiles that exist.
        joined: Profiles absorbed by others.
        flows: By flow id.
        dead_letters: Dead letters kept.
    """

    received: int = 0
    accepted: int = 0
    repeats: int = 0
    refused: dict[str, int] = {}
    notes: dict[str, int] = {}
    profiles: int = 0
    joined: int = 0
    flows: dict[str, FlowTotals] = {}
    dead_letters: int = 0


class DeadLetter(msgspec.Struct, omit_defaults=True):
    """An update that was refused, or an export that the destination will never take.

    Attributes:
        id: ``<milliseconds>-<number>``.
        kind: update or export.
        at_ms: When, epoch milliseconds.
        reason: Code.
        detail: Words, without values.
        place: For an update: where it came from.
        body: For an update: its bytes (the first 64 KiB).
        source: For an update: id of the source.
        flow: For an export: flow id.
        export: For an export: the export itself.
        attempts: For an export: writes.
    """

    id: str
    kind: str
    at_ms: int
    reason: str
    detail: str
    place: str = ""
    body: bytes = b""
    source: str = ""
    flow: str = ""
    export: Export | None = None
    attempts: int = 0


class LedgerBlock(msgspec.Struct, array_like=True):
    """What one settlement commit settled, column by column.

    Attributes:
        at_ms: Time of the commit.
        flows: Flow ids, by index.
        flow: Per export the index of its flow.
        export_id: Per export its id.
        profile_id: Per export its profile.
        ordinal: Per export the ordinal of the input that made it.
        seq: Per export its ``seq``.
        version: Per export the profile version.
        config: Per export the configuration version.
        made_ms: Per export when it was made.
        shard: Per export the shard, "" for a dead letter.
        sequence: Per export the sequence number, or the refusal's code.
        attempts: Per export the number of writes.
        spans: Shard to (least, greatest) sequence number, to skip blocks by.
    """

    at_ms: int
    flows: list[str]
    flow: list[int]
    export_id: list[str]
    profile_id: list[str]
    ordinal: list[int]
    seq: list[int]
    version: list[int]
    config: list[str]
    made_ms: list[int]
    shard: list[str]
    sequence: list[str]
    attempts: list[int]
    spans: dict[str, tuple[str, str]]


class IndexRow(msgspec.Struct, array_like=True):
    """What the identity index holds."""

    profile_id: str
    epoch: int


class Cursor(msgspec.Struct, array_like=True):
    """Where the next things go: ordinal of the next input, number of the next ledger block and dead letter.

    ``alive`` is true while a process works on the folder; one that starts and finds it true follows a killed one.
    """

    ordinal: int = 1
    ledger: int = 1
    letter: int = 1
    alive: bool = False


encode: Final = _encode
decode_index_row: Final = msgspec.msgpack.Decoder(IndexRow).decode
decode_totals: Final = msgspec.msgpack.Decoder(Totals).decode
decode_letter: Final = msgspec.msgpack.Decoder(DeadLetter).decode
decode_cursor: Final = msgspec.msgpack.Decoder(Cursor).decode
decode_exports: Final = msgspec.msgpack.Decoder(list[Export]).decode
_decode_journal: Final = msgspec.msgpack.Decoder(JournalBlock).decode
_decode_ledger: Final = msgspec.msgpack.Decoder(LedgerBlock).decode


def packed(record: Any) -> bytes:
    """Encode and compress (zstd level 1)."""
    return _COMPRESS.compress(_encode(record))


def journal_block(stored: bytes) -> JournalBlock:
    """Read a journal block."""
    return _decode_journal(_EXPAND.decompress(stored))


def ledger_block(stored: bytes) -> LedgerBlock:
    """Read a ledger block."""
    return _decode_ledger(_EXPAND.decompress(stored))
