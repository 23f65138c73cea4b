"""Turn what was settled into what is stored: outbox, ledger, dead letters, totals."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.destinations.base import Verdict
from headrace.destinations.dispatch import Pending
from headrace.runtimes.embedded.flow import RunningFlow
from headrace.sources.base import Batch as SourceBatch
from headrace.sources.base import Refused
from headrace.state import records
from headrace.state.base import Batch
from headrace.state.keys import DEAD_LETTER, LEDGER, Keys

_KEPT_BYTES = 65_536


def store_settled(
    settled: Sequence[tuple[RunningFlow, Sequence[Pending]]], now_ms: int, keys: Keys, cursor: records.Cursor,
    totals: records.Totals, batch: Batch,
) -> None:  # fmt: skip
    """Put settlements into a batch: the outbox, ledger, totals and dead letters."""
    ledger = records.LedgerBlock(now_ms, [], [], [], [], [], [], [], [], [], [], [], [], {})
    for flow, done in settled:
        flow_id = flow.compiled.id
        if flow_id not in ledger.flows:
            ledger.flows.append(flow_id)
        _count(totals.flows[flow_id], done)
        _enter(ledger, ledger.flows.index(flow_id), done)
        for p in done:
            if p.outcome is not None and p.outcome.verdict == Verdict.REJECTED:
                _export_letter(flow_id, p, now_ms, keys, cursor, totals, batch)
    for flow in {id(flow): flow for flow, _ in settled}.values():
        flow.outbox.store_settled(batch)
    batch.put(keys.numbered(LEDGER, now_ms, cursor.ledger), records.packed(ledger))
    cursor.ledger += 1


def _count(counted: records.FlowTotals, done: Sequence[Pending]) -> None:
    rejected = 0
    for p in done:
        if p.attempts > 1:
            counted.retried += p.attempts - 1 - min(p.unknown, p.attempts - 1)
            counted.possible_duplicates += min(p.unknown, p.attempts - 1)
        outcome = p.outcome
        if outcome is not None and outcome.verdict == Verdict.REJECTED:
            rejected += 1
    counted.dead_lettered += rejected
    counted.delivered += len(done) - rejected


def _enter(ledger: records.LedgerBlock, flow: int, done: Sequence[Pending]) -> None:
    exports = [p.export for p in done]
    ledger.flow += [flow] * len(exports)
    ledger.export_id += [e.export_id for e in exports]
    ledger.profile_id += [e.profile_id for e in exports]
    ledger.ordinal += [e.ordinal for e in exports]
    ledger.seq += [e.seq for e in exports]
    ledger.version += [e.version for e in exports]
    ledger.config += [e.config for e in exports]
    ledger.made_ms += [e.made_ms for e in exports]
    ledger.attempts += [p.attempts for p in done]
    spans = ledger.spans
    for p in done:
        outcome = p.outcome
        shard = outcome.shard if outcome is not None else ""
        place = (outcome.sequence or outcome.code) if outcome is not None else ""
        ledger.shard.append(shard)
        ledger.sequence.append(place)
        if shard:
            # Sequence numbers of one shard have the same number of digits, so text order is number order.
            span = spans.get(shard)
            if span is None:
                spans[shard] = (place, place)
            elif place < span[0]:
                spans[shard] = (place, span[1])
            elif place > span[1]:
                spans[shard] = (span[0], place)


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
            body=bytes(source.bodies[r.index][:_KEPT_BYTES]), source=source.source,
        )  # fmt: skip
        _put_letter(letter, keys, cursor, totals, batch)


def _put_letter(
    letter: records.DeadLetter, keys: Keys, cursor: records.Cursor, totals: records.Totals, batch: Batch
) -> None:
    letter.id = f"{letter.at_ms}-{cursor.letter}"
    batch.put(keys.numbered(DEAD_LETTER, letter.at_ms, cursor.letter), records.encode(letter))
    cursor.letter += 1
    totals.dead_letters += 1
