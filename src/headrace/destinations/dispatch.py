"""Send the exports of one flow: in order per profile, in full requests, each until it is settled.

A profile is a lane: one export of it is on its way at a time, the others wait behind it. Profiles are many, so
requests fill up all the same, and a refused record holds back its own lane only. Each part has a room of its own:
``lanes``, ``ready``, ``paced``, ``flight``, ``learning``, ``verdicts``, ``retries``.

Holds always (tests/destinations/test_dispatch.py checks each by its number):
    D1  Every export that was added is settled exactly once: delivered, rejected or discarded.
    D2  The exports of one lane are written in the order added, each after the one before it is settled,
        and none before what its ``after`` names is settled.
    D3  Only what was refused, or whose fate is unknown, is written again.
    D4  No request is over a limit of the writer; no more requests are under way than it allows.
    D5  HALT keeps every record, and is tried again with one request after a pause.
    D6  A shard that throttles slows the records it takes, and no others. Other failures slow nothing.
    D7  A stream that does not answer gets one probe at a time, and all again at its first answer.
    D8  Of a lane in ``discarding`` nothing that lies before its bound is written from then on.
    D9  With ``confirmed``, what follows a record refused for good is written after the refusal was stored.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from headrace.clock import Clock
from headrace.destinations import sending
from headrace.destinations.base import Outcome, Verdict, Writer
from headrace.destinations.block import Block
from headrace.destinations.flight import Breaker, Flight
from headrace.destinations.halts import Counts, Halt
from headrace.destinations.lanes import Lanes
from headrace.destinations.learning import Learning
from headrace.destinations.paced import Paced
from headrace.destinations.pending import Pending, answered, fit, pending, prepared, settle, sizes
from headrace.destinations.ready import Ready
from headrace.destinations.retries import Retries
from headrace.destinations.shards import StreamControl
from headrace.destinations.verdicts import Refusals, unfit
from headrace.errors import BugError, StateError

__all__ = ["Block", "Counts", "Dispatcher", "Halt", "Pending", "pending"]


class Dispatcher:
    """Sends one flow's exports.

    Args:
        writer: Writes requests.
        clock: Waits are on it.
        rng: Jitter.
        settled: Called with exports that left for good, in batches; ``Pending.outcome`` tells how.
        unsettled: Tells whether (bucket, ordinal) of this flow still waits somewhere.
        halted: Called when the destination accepts nothing any more; ``halt`` tells why.
        answered: Called with each request that was answered, and the seconds that it took.
        control: What the flows to one stream share: which shard has which keys, and their limits. None for one alone.
        linger_s: How long a request that is not full waits for more.
        ordered: False gives up lanes (ordering none).
        confirmed: Whoever is told of what was settled says with ``stored`` when that is on disk. What follows a
            record that was refused for good waits for it: after a crash before, that record would be written again.
    """

    def __init__(
        self,
        writer: Writer,
        *,
        clock: Clock,
        rng: random.Random,
        settled: Callable[[Sequence[Pending]], None],
        unsettled: Callable[[int, int], bool] = lambda _bucket, _ordinal: False,
        halted: Callable[[], None] = lambda: None,
        answered: Callable[[Sequence[Pending], float], None] = lambda _batch, _took_s: None,
        control: StreamControl | None = None,
        linger_s: float = 0.02,
        ordered: bool = True,
        confirmed: bool = False,
    ) -> None:
        self._writer = writer
        self._prepare = getattr(writer, "prepare", None)
        self._clock = clock
        self._settled = settled
        self._on_halt = halted
        self._answered = answered
        self._linger_s = linger_s
        self._hold_refused = confirmed and ordered
        self.control = control or StreamControl(clock)
        self._flight = Flight(writer.limits.in_flight, rng)
        self._ready = Ready(clock)
        self._lanes = Lanes(self._ready, unsettled, ordered=ordered)
        self._paced = Paced(self.control, self._ready)
        self._retries = Retries(rng)
        self._learning = Learning(self.control, self._flight, self._retries, clock)
        self.discarding: dict[str, tuple[int, str]] = {}
        """Lane to the ordinal before which its exports are given up, and why."""
        self._flying: dict[asyncio.Task[None], list[Pending]] = {}
        self._wake = asyncio.Event()
        self._closing = False
        self._failure: BaseException | None = None
        self.counts = Counts()
        self.bytes = 0
        self.records = 0

    # -- what it shows ----------------------------------------------------------------------------

    @property
    def halt(self) -> Halt | None:
        """Why nothing of the flow is accepted; None while it is."""
        return self._flight.halt

    @property
    def breaker(self) -> Breaker:
        """Whether the stream answers at all."""
        return self._flight.breaker

    @property
    def refused(self) -> dict[tuple[int, int], Pending]:
        """Refused for good and not yet stored as that, by bucket and ordinal."""
        return self._lanes.refused

    @property
    def under_way(self) -> int:
        """Requests that are not answered yet."""
        return len(self._flying)

    def in_doubt(self) -> int:
        """Writes whose fate is unknown, of records that are not settled: what whoever sends them next may repeat."""
        waiting = [*self._ready.all(), *self._retries.waiting(), *self._paced.waiting()]
        flying = [p for batch in self._flying.values() for p in batch]
        return sum(p.unknown for p in (*waiting, *flying)) + len(flying)

    # -- in ---------------------------------------------------------------------------------------

    def add(self, exports: Sequence[Pending]) -> None:
        """Take exports in. Never blocks: memory is the caller's to bound.

        Those of one lane come in their order, but for those whose partition keys differ: they lie in different
        buckets, and a later one, which waits for the earlier by its ``after``, may come first.
        """
        if self._prepare is not None:
            prepared(exports, self._prepare)
        size, kept = sizes(exports)
        self.bytes += size + kept
        self.records += len(exports)
        self._lanes.add(exports)
        self._wake.set()

    def released(self, bucket: int, ordinal: int) -> None:
        """What waited for that export may go, unless it waits for another one too."""
        self._lanes.released((bucket, ordinal))
        self._wake.set()

    def recheck(self) -> None:
        """Let go what waits for exports that turned out to be settled already (read back after a restart)."""
        if self._lanes.recheck():
            self._wake.set()

    def stored(self, places: Sequence[tuple[int, int]]) -> None:
        """These of ``refused`` are on disk as dead letters."""
        self._lanes.stored(places)
        self._wake.set()

    # -- out --------------------------------------------------------------------------------------

    def run(self) -> Coroutine[Any, Any, None]:
        """Send until cancelled; then requests under way are given up (their fate is unknown)."""
        return sending.run(self._turn, self._wake, self._clock, self._flying)

    def _turn(self) -> float | None:
        """One turn of ``run``: start what can start, and say how long to wait; None for "until woken"."""
        if self._failure is not None:
            if isinstance(self._failure, StateError):
                raise self._failure  # what is settled makes the outbox read on
            raise BugError(problem=f"a writer raised {self._failure!r}, which W1 forbids")
        return self._pump()

    def finish(self, grace_s: float) -> Coroutine[Any, Any, int]:
        """Start nothing more, and give requests under way *grace_s* seconds to be answered.

        Returns:
            Requests that were not; what becomes of their records is unknown.
        """
        self._closing = True
        return sending.finish(self._flying, self._clock, grace_s)

    def _pump(self) -> float | None:
        """Start every request that can start; the seconds until the next one might, None for "when woken"."""
        if self._closing:
            return None
        now = self._clock.monotonic_s()
        self._come_back(now)
        flight = self._flight
        most = flight.window.allowed
        if flight.probing:
            wait_s = flight.wait_s(now)
            if wait_s > 0:
                return wait_s
            if self._flying:
                return None
            most = 1
        lingers_s = self._start_requests(most, now)
        if len(self._flying) >= most:
            return None
        waits = [lingers_s, self._retries.wait_s(now), self._paced.due_s - now if self._paced.count else None]
        known = [wait_s for wait_s in waits if wait_s is not None]
        return max(min(known), 0.0) if known else None

    def _come_back(self, now: float) -> None:
        """What has waited long enough after a refusal is ready again, before all others."""
        back = self._retries.due(now)
        if back:
            self._ready.back(back)
            self._ready.since_s = min(self._ready.since_s, now - self._linger_s)

    def _start_requests(self, most: int, now: float) -> float | None:
        """Start up to *most* requests; the seconds until one that is not full has waited enough, else None."""
        limits = self._writer.limits
        flying, ready, paced, halves = self._flying, self._ready, self._paced, self._retries.halves
        while len(flying) < most:
            if halves:
                self._start(halves.popleft())
                continue
            full = ready.count >= limits.records or ready.bytes >= limits.request_bytes
            if not full and not (paced.count and paced.due_s <= now):
                if not ready.count:
                    return None
                due_s = ready.since_s + self._linger_s
                if due_s > now:
                    return due_s - now
            records, room = limits.records, limits.request_bytes
            self._start(paced.cut(records, room, now) if paced.needed else ready.cut(records, room))
        return None

    def _start(self, batch: list[Pending]) -> None:
        if self.discarding:
            batch = self._without_discarded(batch)
        batch = self._fitting(batch)
        if not batch:
            return
        self.counts.requests += 1
        self._flight.started()
        task = asyncio.create_task(sending.write(self._writer, batch, self._clock, self._arrived))
        self._flying[task] = batch
        task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._flying.pop(task, None)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error

    def _without_discarded(self, batch: list[Pending]) -> list[Pending]:
        """What is still to be sent; the others are settled as discarded."""
        rest: list[Pending] = []
        gone: list[Pending] = []
        for p in batch:
            bound = self.discarding.get(p.lane)
            if bound is None or p.ordinal >= bound[0]:
                rest.append(p)
            else:
                p.discarded, p.outcome = bound[1], None
                gone.append(p)
        if gone:
            self._release(gone)
        return rest

    def _fitting(self, batch: list[Pending]) -> list[Pending]:
        """What the writer's limits allow; the others are settled as refused."""
        limits = self._writer.limits
        if fit(batch, min(limits.record_bytes, limits.request_bytes), limits.key_chars):
            return batch
        rest: list[Pending] = []
        for p in batch:
            outcome = unfit(p, limits)
            if outcome is None:
                rest.append(p)
            else:
                self._refuse(p, outcome)
        return rest

    # -- answers ----------------------------------------------------------------------------------

    def _arrived(self, batch: list[Pending], outcomes: Sequence[Outcome], took_s: float) -> None:
        """What became of a request."""
        if len(outcomes) != len(batch):
            raise BugError(problem=f"{len(outcomes)} outcomes of {len(batch)} records, which W1 forbids")
        if self._flight.halt is not None:
            self._flight.lift({outcome.verdict for outcome in outcomes})
        refused = answered(batch, outcomes)
        delivered = batch
        if refused:
            delivered = [p for p in batch if p.outcome is not None and not p.outcome.verdict]
        self._answered(batch, took_s)
        self._learning.answered(delivered, refused, took_s)
        if delivered:
            self._release(delivered)
        if refused:
            self._refused(batch, refused)

    def _release(self, done: Sequence[Pending]) -> None:
        """These are settled: note it, and let the next of their lanes go."""
        self.bytes -= settle(done)
        self.records -= len(done)
        self._lanes.let_go(done)
        self._settled(done)
        self._wake.set()

    def _refuse(self, p: Pending, outcome: Outcome) -> None:
        """It is settled as a dead letter; what follows it goes once that is stored (D9)."""
        outcome.verdict = Verdict.REJECTED
        p.outcome = outcome
        if not self._hold_refused:
            self._release((p,))
            return
        self.bytes -= settle((p,))
        self.records -= 1
        self._lanes.hold(p)
        self._settled((p,))
        self._wake.set()

    def _refused(self, batch: list[Pending], refused: list[Pending]) -> None:
        """Part of a request, or all of it, did not get through."""
        found = Refusals(refused, self.counts)
        if found.split and len(batch) == 1:
            found.rejected, found.split = found.split, []
        for p in found.rejected:
            assert p.outcome is not None
            self._refuse(p, p.outcome)
        now = self._clock.monotonic_s()
        for group in found.waits.values():
            self._retries.back_off(group, now)
        if found.split:
            self.counts.retried += len(found.split)
            self._retries.split(found.split)
        if found.halted:
            self._halted(found.halted, now)

    def _halted(self, halted: list[Pending], now: float) -> None:
        """Keep the records and pause; a probe follows by itself."""
        outcome = halted[0].outcome
        assert outcome is not None
        self.counts.retried += len(halted)
        self._ready.back(halted)
        if self._flight.halted(outcome.code, outcome.detail, now):
            self._on_halt()
