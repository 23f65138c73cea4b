"""What is stored beside envelopes: journal, totals, dead letters, ledger. Field order is the format: append only."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import msgspec
import zstandard

from headrace.core.ids import ID_BYTES as ID_BYTES
from headrace.core.ids import pack_ids as pack_ids
from headrace.core.ids import unpack_id as unpack_id
from headrace.core.model import Cause, Export

_encode: Final = msgspec.msgpack.Encoder().encode
_COMPRESS: Final = zstandard.ZstdCompressor(level=1)
_EXPAND: Final = zstandard.ZstdDecompressor()

UPDATE: Final = 0
TICK: Final = 1
BACKFILL: Final = 2
DELETE: Final = 3
REPLAY: Final = 4
REPEAT: Final = 5
ERASED: Final = 6
UNLINK: Final = 7
"""Kinds of journaled inputs; REPEAT is an update that was recognised by its id and changed nothing, ERASED one about
a person who was deleted: nothing of it is left but its number and its time."""


class JournalBlock(msgspec.Struct, array_like=True):
    """The inputs of one batch, in order, and what was decided about each: enough to decide everything again.

    Attributes:
        first: Ordinal of the first input.
        now_ms: Time of the batch, epoch milliseconds.
        config: Version of the configuration.
        kinds: Kind of each input.
        bodies: The raw update, or the other input encoded, of each.
        sources: Which source each came from, as an index into ``names``.
        names: Ids of sources.
        profiles: Profile id of each, 16 bytes an input; zeros where none is known.
        decisions: What was decided, each different one once: per flow, in the configuration's order, the reason
            why nothing was exported, "" where something was.
        decision: Index into ``decisions`` of each input.
        absorbed: Index of an input to the ids of the profiles it joined into its own.
        links: Index of an input to the identities (as indexes) that belong to its profile, where not all do.
        bases: Index of an input to the envelopes as they were before it: its profile's, then those it joined.
            Empty where the input made the profile; absent where an earlier input leads here.
        overflowing: Ids of flows that held back, their backlog being over its budget.
    """

    first: int
    now_ms: int
    config: str
    kinds: bytes
    bodies: list[bytes]
    sources: bytes
    names: list[str]
    profiles: bytes = b""
    decisions: list[tuple[str, ...]] = []
    decision: list[int] = []
    absorbed: dict[int, list[str]] = {}
    links: dict[int, list[int]] = {}
    bases: dict[int, list[bytes]] = {}
    overflowing: list[str] = []

    @property
    def at_ms(self) -> int:
        """When it was written."""
        return self.now_ms

    @property
    def rows(self) -> int:
        """Number of inputs."""
        return len(self.kinds)


class FlowTotals(msgspec.Struct):
    """Counts of one flow since the folder was made. accepted = exported + sum(held).

    exported = delivered + dead_lettered + pending + sum(discarded); dead_lettered = sum(codes) since those are kept.
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
    delivered_bytes: int = 0
    codes: dict[str, int] = {}

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
        configs: Configuration versions, by index.
        shards: Shards, by index; "" for what no shard took.
        codes: Why exports were not taken, by index; "" for delivered ones.
        flow: Per export the index of its flow.
        export_id: Ids of the exports, 16 bytes each.
        profile_id: Ids of their profiles, 16 bytes each.
        ordinal: Per export the ordinal of the input that made it.
        seq: Per export its ``seq``.
        version: Per export the profile version.
        epoch: Per export the profile's epoch.
        config: Per export the index of its configuration version.
        made_ms: Per export when it was made.
        cause: Per export its cause.
        shard: Per export the index of its shard.
        sequence: Per export the sequence number; "" for a dead letter.
        code: Per export the index of its code.
        attempts: Per export the number of writes.
    """

    at_ms: int
    flows: list[str]
    configs: list[str]
    shards: list[str]
    codes: list[str]
    flow: list[int]
    export_id: bytes
    profile_id: bytes
    ordinal: list[int]
    seq: list[int]
    version: list[int]
    epoch: list[int]
    config: list[int]
    made_ms: list[int]
    cause: Sequence[Cause]
    shard: list[int]
    sequence: list[str]
    code: list[int]
    attempts: list[int]

    @property
    def rows(self) -> int:
        """Number of exports."""
        return len(self.flow)


class IndexRow(msgspec.Struct, array_like=True):
    """What the identity index holds."""

    profile_id: str
    epoch: int


class Cursor(msgspec.Struct, array_like=True):
    """Where the next things go: ordinal of the next input, row of the next ledger entry, number of a dead letter.

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

_BLOCK: Final = struct.Struct(">BQI")
_BLOCK_FORMAT: Final = 1


def indexed(names: Sequence[str]) -> tuple[list[str], list[int]]:
    """The different names, and for each of *names* its index among them."""
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    if len(places) == 1:
        return list(places), [0] * len(names)
    return list(places), list(map(places.__getitem__, names))


def packed(block: JournalBlock | LedgerBlock) -> bytes:
    """A block as it is stored: format, time and rows in the open, then the whole, compressed (zstd level 1)."""
    return _BLOCK.pack(_BLOCK_FORMAT, block.at_ms, block.rows) + _COMPRESS.compress(_encode(block))


def heading(stored: bytes) -> tuple[int, int]:
    """(Time in epoch milliseconds, rows) of a stored block, without opening it."""
    _, at_ms, rows = _BLOCK.unpack_from(stored)
    return at_ms, rows


def unpacked(stored: bytes) -> bytes:
    """What ``packed`` compressed, encoded still."""
    return _EXPAND.decompress(stored[_BLOCK.size :])


def journal_block(stored: bytes) -> JournalBlock:
    """Read a journal block."""
    return _decode_journal(unpacked(stored))


def ledger_block(stored: bytes) -> LedgerBlock:
    """Read a ledger block."""
    return _decode_ledger(unpacked(stored))
