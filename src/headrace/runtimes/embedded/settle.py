"""Turn what was settled into what is stored: outbox, ledger, dead letters, totals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from headrace.destinations.base import Verdict
from headrace.destinations.pending import Pending, ledger_columns, unusual
from headrace.runtimes.embedded.flow import RunningFlow
from headrace.sources.base import Batch as SourceBatch
from headrace.sources.base import Refused
from headrace.state import records
from headrace.state.base import Batch
from headrace.state.keys import DEAD_LETTER, Keys
from headrace.state.pages import Roll

KEPT_BYTES: Final = 65_536
"""Of the bytes of an update that was refused."""
_REJECTED: Final = int(Verdict.REJECTED)


def store_settled(
    settled: Sequence[tuple[RunningFlow, Sequence[Pending]]], now_ms: int, keys: Keys, cursor: records.Cursor,
    totals: records.Totals, batch: Batch, ledger: Roll,
) -> None:  # fmt: skip
    """Put settlements into a batch: the outbox, ledger, totals and dead letters."""
    for flow, done in settled:
        flow_id = flow.compiled.id
        for p in _count(totals.flows[flow_id], done):
            _export_letter(flow_id, p, now_ms, keys, cursor, totals, batch)
    for flow in {id(flow): flow for flow, _ in settled}.values():
        flow.outbox.store_settled(batch)
    if ledger.kept:
        block = entered([(flow.compiled.id, done) for flow, done in settled], now_ms)
        ledger.put(batch, cursor.ledger, block)
        cursor.ledger += block.rows


def _count(counted: records.FlowTotals, done: Sequence[Pending]) -> list[Pending]:
    """Count settlements; those that were rejected."""
    rejected: list[Pending] = []
    discarded = 0
    delivered_bytes, others = unusual(done)
    for p in others:
        if p.attempts > 1:
            counted.retried += p.attempts - 1 - min(p.unknown, p.attempts - 1)
            counted.possible_duplicates += min(p.unknown, p.attempts - 1)
        outcome = p.outcome
        if p.discarded:
            discarded += 1
            counted.discarded[p.discarded] = counted.discarded.get(p.discarded, 0) + 1
        elif outcome is not None and outcome.verdict == _REJECTED:
            rejected.append(p)
            counted.codes[outcome.code] = counted.codes.get(outcome.code, 0) + 1
        else:
            delivered_bytes += len(p.message)
    counted.delivered_bytes += delivered_bytes
    counted.dead_lettered += len(rejected)
    counted.delivered += len(done) - len(rejected) - discarded
    return rejected


def entered(settled: Sequence[tuple[str, Sequence[Pending]]], now_ms: int) -> records.LedgerBlock:
    """The ledger block of settlements by flow id; at least one."""
    every = [p for _, done in settled for p in done]
    (
        export_ids, profile_ids, ordinals, seqs, versions, epochs, each_config, made_ms, causes, each_shard,
        sequences, each_code, attempts,
    ) = ledger_columns(every)  # fmt: skip
    flows, flow = records.indexed([flow_id for flow_id, done in settled for _ in done])
    configs, config = records.indexed(each_config)
    shards, shard = records.indexed(each_shard)
    codes, code = records.indexed(each_code)
    return records.LedgerBlock(
        now_ms, flows, configs, shards, codes, flow, export_ids, profile_ids, ordinals, seqs, versions, epochs,
        config, made_ms, causes, shard, sequences, code, attempts,
    )  # fmt: skip


def _export_letter(
    flow_id: str, p: Pending, now_ms: int, keys: Keys, cursor: records.Cursor, totals: records.Totals, batch: Batch
) -> None:
    outcome = p.outcome
    assert outcome is not None
    letter = records.DeadLetter(
        id="", kind="export", at_ms=now_ms, reason=outcome.code, detail=outcome.detail, flow=flow_id,
        export=p.export, attempts=p.attempts,
    )  # fmt: skip
    _put_letter(letter, keys, cursor, totals, batch)


def store_refused(
    source: SourceBatch, refused: Sequence[Refused], now_ms: int, keys: Keys, cursor: records.Cursor,
    totals: records.Totals, batch: Batch,
) -> None:  # fmt: skip
    """Keep a source's refused updates as dead letters."""
    for r in refused:
        letter = records.DeadLetter(
            id="", kind="update", at_ms=now_ms, reason=r.reason, detail=r.problem, place=source.place(r.index),
            body=bytes(source.bodies[r.index][:KEPT_BYTES]), source=source.source,
        )  # fmt: skip
        _put_letter(letter, keys, cursor, totals, batch)


def _put_letter(
    letter: records.DeadLetter, keys: Keys, cursor: records.Cursor, totals: records.Totals, batch: Batch
) -> None:
    letter.id = f"{letter.at_ms}-{cursor.letter}"
    batch.put(keys.numbered(DEAD_LETTER, letter.at_ms, cursor.letter), records.encode(letter))
    cursor.letter += 1
    totals.dead_letters += 1
