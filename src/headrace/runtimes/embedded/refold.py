"""Fold the journal again, from nothing, and compare: what is stored must be what the inputs come to (I1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from headrace.core.canonical import compile_canonical
from headrace.core.envelope import decode
from headrace.core.flow import Snapshot
from headrace.core.model import Backfill, Delete, Replay, Tick, Unlink
from headrace.runtimes.embedded.decide import Decider
from headrace.runtimes.embedded.decision import Command
from headrace.runtimes.embedded.overflow import with_overflowing
from headrace.sources.base import Batch as SourceBatch
from headrace.state import reading, records
from headrace.state.base import State
from headrace.state.keys import CONFIGURATION, DEAD_LETTER, IDENTITY, LEDGER, OUTBOX, PROFILE, Keys
from headrace.state.memory import MemoryState
from headrace.state.restored import restored_at

_COMMANDS = {
    records.TICK: Tick,
    records.BACKFILL: Backfill,
    records.DELETE: Delete,
    records.REPLAY: Replay,
    records.UNLINK: Unlink,
}


class Comparison(msgspec.Struct):
    """What folding the journal again showed.

    Attributes:
        inputs: Inputs folded.
        first: Ordinal of the first; above 1 the journal's beginning has been removed by age, or lies before a
            restore, which gave the profiles other epochs.
        profiles: Profiles compared: those made within the journal.
        older: Profiles made before its beginning, which it cannot tell.
        differing: Ids of profiles whose stored bytes are not what the inputs come to.
        exports: Exports that the inputs come to.
        missing: Ids of those that are neither settled nor pending; only compared when the journal is whole.
        unexpected: Ids that are stored and do not follow from the inputs; likewise.
    """

    inputs: int = 0
    first: int = 1
    profiles: int = 0
    older: int = 0
    differing: list[str] = []
    exports: int = 0
    missing: list[str] = []
    unexpected: list[str] = []

    @property
    def same(self) -> bool:
        """True when nothing differs."""
        return not (self.differing or self.missing or self.unexpected)


def refold(state: State, keys: Keys, installation_key: bytes) -> Comparison:
    """Fold the whole journal into memory, and compare it with the state.

    Memory grows with the profiles of the journal: this is for finding faults, not for every day.
    """
    restored = restored_at(state, keys)
    found = Comparison(first=max(restored, 1))
    memory = MemoryState()
    decider: Decider | None = None
    snapshots: dict[str, Snapshot] = {}
    exports: set[str] = set()
    for block in reading.journal(state, keys, restored):
        if block.first < restored:
            continue
        if decider is None:
            found.first = block.first
        snapshot = snapshots.get(block.config)
        if snapshot is None:
            snapshot = snapshots[block.config] = _snapshot(state, keys, block.config)
        if decider is None:
            decider = Decider(
                memory, keys, snapshot, installation_key, dedup_window_ms=0, cached=1 << 30, by_c=False
            )  # fmt: skip
        decider.snapshot = with_overflowing(snapshot, frozenset(block.overflowing))
        for first, end in _unerased(block.kinds):
            batch = memory.batch()
            kinds, bodies = block.kinds[first:end], block.bodies[first:end]
            made = decider.decide(
                [_updates(kinds, bodies)], _commands(kinds, bodies), block.first + first, block.now_ms,
                records.Totals(), batch,
                repeats=frozenset(i for i, kind in enumerate(kinds) if kind == records.REPEAT),
                named=[records.unpack_id(block.profiles, index) for index in range(first, end)],
            )  # fmt: skip
            memory.commit(batch)
            exports.update(export.export_id for of_flow in made.exports for export in of_flow)
        found.inputs += len(block.kinds)
    found.exports = len(exports)
    _compare_profiles(state, memory, keys, found)
    if found.first == 1:
        stored = _stored_exports(state, keys)
        found.missing = sorted(exports - stored)
        found.unexpected = sorted(stored - exports)
    return found


def _snapshot(state: State, keys: Keys, version: str) -> Snapshot:
    stored = state.get_many([keys.named(CONFIGURATION, version)])[0]
    return compile_canonical(stored or b"")


def _unerased(kinds: bytes) -> Iterator[tuple[int, int]]:
    """(Start, end) of the runs of inputs between those that are erased: where a batch is cut makes no difference."""
    start = 0
    while start < len(kinds):
        end = kinds.find(records.ERASED, start)
        end = len(kinds) if end < 0 else end
        if end > start:
            yield start, end
        start = end + 1


def _updates(kinds: bytes, bodies: Sequence[bytes]) -> SourceBatch:
    ours = (records.UPDATE, records.REPEAT)
    found = [body for kind, body in zip(kinds, bodies, strict=True) if kind in ours]
    return SourceBatch("journal", found, str, None, lambda _: None)


def _commands(kinds: bytes, bodies: Sequence[bytes]) -> list[Command]:
    return [
        msgspec.msgpack.decode(body, type=_COMMANDS[kind])
        for kind, body in zip(kinds, bodies, strict=True)
        if kind in _COMMANDS
    ]


def _compare_profiles(state: State, memory: MemoryState, keys: Keys, found: Comparison) -> None:
    start, end = keys.space(PROFILE)
    folded = dict(memory.scan(start, end))
    for key, value in state.scan(start, end):
        profile = decode(value)
        if profile.epoch < found.first:
            found.older += 1
            continue
        found.profiles += 1
        if folded.pop(key, None) != value:
            found.differing.append(profile.profile_id)
    if found.first == 1:
        found.differing += [decode(value).profile_id for value in folded.values()]
        span = keys.space(IDENTITY)
        if dict(state.scan(*span)) != dict(memory.scan(*span)):
            found.differing.append("the identity index")


def _stored_exports(state: State, keys: Keys) -> set[str]:
    stored: set[str] = set()
    for _, value in state.scan(*keys.space(LEDGER)):
        block = records.ledger_block(value)
        stored.update(
            records.unpack_id(block.export_id, index)
            for index in range(block.rows)
            if records.unpack_id(block.profile_id, index)  # else of a person who was deleted
        )
    for _, value in state.scan(*keys.space(OUTBOX)):
        stored.update(export.export_id for export in records.decode_exports(value))
    for _, value in state.scan(*keys.space(DEAD_LETTER)):
        letter = records.decode_letter(value)
        if letter.export is not None:
            stored.add(letter.export.export_id)
    return stored
