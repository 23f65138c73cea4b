"""Send the exports of one flow: in order per profile, in full requests, each until it is settled.

A profile is a lane: one export of it is on its way at a time, the others wait behind it. Profiles are many,
so requests fill up all the same, and a refused record holds back its own lane only.

Holds always (tests/destinations/test_dispatch.py checks each by its number):
    D1  Every export that was added is settled exactly once: delivered, rejected or discarded.
    D2  The exports of one lane are written in the order added, each after the one before it is settled,
        and none before what its ``after`` names is settled.
    D3  Only what was refused, or whose fate is unknown, is written again.
    D4  No request is over a limit of the writer; no more requests are under way than it allows.
    D5  HALT keeps every record, and is tried again with one request after a pause.
    D6  A shard that throttles slows the records it takes, and no others.
    D7  A stream that does not answer gets one probe at a time, and all again at its first answer.
    D8  Of a lane in ``discarding`` nothing that lies before its bound is written from then on.
    D9  With ``confirmed``, what follows a record refused for good is written after the refusal was stored.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from bisect import insort
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from headrace.clock import Clock
from headrace.destinations import sending
from headrace.destinations.base import Outcome, Verdict, Writer
from headrace.destinations.block import Block
from headrace.destinations.halts import Counts, Halt
from headrace.destinations.pending import Pending, pending, prepared
from headrace.destinations.rates import Breaker, InFlight, StreamControl, hash_of
from headrace.errors import BugError, StateError

__all__ = ["Block", "Counts", "Dispatcher", "Halt", "Pending", "pending"]

_FIRST_WAIT_S: Final = 0.05
_MOST_WAIT_S: Final = 20.0
_PACE_S: Final = 0.05
_LOOK_EVERY: Final = 16
"""Answers between two looks at where keys went, while nothing is limited."""

# Of any length, so that mypyc keeps it as an object: it takes a final tuple of four floats for one that was not set.
_PROBE_S: Final[tuple[float, ...]] = (5.0, 10.0, 30.0, 60.0)
"""Pauses before a halted flow is tried again; the last one repeats."""


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
        self._rng = rng
        self._settled = settled
        self._unsettled = unsettled
        self._on_halt = halted
        self._answered = answered
        self.control = control or StreamControl(clock)
        self.breaker = Breaker(rng)
        self._in_flight = InFlight(writer.limits.in_flight)
        self._answers = 0
        self._limited: dict[str, deque[Pending]] = {}
        """By shard what waits for its rate."""
        self._limited_records = 0
        self._limited_at = 0.0
        self._linger_s = linger_s
        self._ordered = ordered
        self._confirmed = confirmed
        self.refused: dict[tuple[int, int], Pending] = {}
        """Refused for good and not yet stored as that, by bucket and ordinal."""
        self._lanes: dict[str, deque[Pending] | None] = {}
        self._ready: deque[Pending] = deque()
        self._ready_bytes = 0
        self._ready_since = 0.0
        self._later: list[tuple[float, int, list[Pending]]] = []
        self._forced: deque[list[Pending]] = deque()
        self._blocked: dict[tuple[int, int], list[Pending]] = {}
        self.discarding: dict[str, tuple[int, str]] = {}
        """Lane to the ordinal before which its exports are given up, and why."""
        self._stalled: dict[str, Pending] = {}
        """Heads of lanes that are in ``_blocked``."""
        self._flying: dict[asyncio.Task[None], list[Pending]] = {}
        self._wake = asyncio.Event()
        self._count = 0
        self._halts = 0
        self._probe_at = 0.0
        self._closing = False
        self._failure: BaseException | None = None
        self.halt: Halt | None = None
        self.counts = Counts()
        self.bytes = 0
        self.records = 0

    # -- in ---------------------------------------------------------------------------------------

    def add(self, exports: Sequence[Pending]) -> None:
        """Take exports in. Never blocks: memory is the caller's to bound.

        Those of one lane come in their order, but for those whose partition keys differ: they lie in different
        buckets, and a later one, which waits for the earlier by its ``after``, may come first.
        """
        if self._prepare is not None:
            prepared(exports, self._prepare)
        lanes, ready = self._lanes, self._ready
        size = 0
        if not ready:
            self._ready_since = self._clock.monotonic_s()
        for p in exports:
            size += p.size + p.kept
            if self._ordered:
                lane = p.lane
                if lane in lanes:
                    self._queue(p)
                    continue
                lanes[lane] = None
            if p.after:
                self._offer(p)
            else:
                ready.append(p)
                self._ready_bytes += p.size
        self.bytes += size
        self.records += len(exports)
        self._wake.set()

    def _queue(self, p: Pending) -> None:
        """Put an export behind the head of its lane, or in its place where the head waits for this very one."""
        lane = p.lane
        if self._stalled and (head := self._stalled.get(lane)) is not None and p.export.ordinal < head.export.ordinal:
            del self._stalled[lane]
            for place in head.after:
                if head in self._blocked.get(place, ()):
                    self._blocked[place].remove(head)
            self._offer(p)
            p = head
        waiting = self._lanes[lane]
        if waiting is None:
            self._lanes[lane] = deque((p,))
        elif waiting[-1].export.ordinal <= p.export.ordinal:
            waiting.append(p)
        else:
            insort(waiting, p, key=lambda other: other.export.ordinal)

    def _offer(self, p: Pending) -> None:
        """Make the head of a lane ready, unless something must be settled before it."""
        for place in p.after:
            if place in self.refused or self._unsettled(*place):
                self._blocked.setdefault(place, []).append(p)
                if self._ordered:
                    self._stalled[p.lane] = p
                return
        if not self._ready:
            self._ready_since = self._clock.monotonic_s()
        self._ready.append(p)
        self._ready_bytes += p.size

    def released(self, bucket: int, ordinal: int) -> None:
        """What waited for that export may go, unless it waits for another one too."""
        for p in self._blocked.pop((bucket, ordinal), ()):
            self._stalled.pop(p.lane, None)
            self._offer(p)
        self._wake.set()

    def recheck(self) -> None:
        """Let go what waits for exports that turned out to be settled already (read back after a restart)."""
        for place in [each for each in self._blocked if each not in self.refused and not self._unsettled(*each)]:
            self.released(*place)

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

    @property
    def under_way(self) -> int:
        """Requests that are not answered yet."""
        return len(self._flying)

    def finish(self, grace_s: float) -> Coroutine[Any, Any, int]:
        """Start nothing more, and give requests under way *grace_s* seconds to be answered.

        Returns:
            Requests that were not; what becomes of their records is unknown.
        """
        self._closing = True
        return sending.finish(self._flying, self._clock, grace_s)

    def in_doubt(self) -> int:
        """Writes whose fate is unknown, of records that are not settled: what whoever sends them next may repeat."""
        later = [p for _, _, group in self._later for p in group]
        limited = [p for queue in self._limited.values() for p in queue]
        waiting = [*self._ready, *later, *limited, *(p for part in self._forced for p in part)]
        flying = [p for batch in self._flying.values() for p in batch]
        return sum(p.unknown for p in (*waiting, *flying)) + len(flying)

    def _pump(self) -> float | None:
        """Start every request that can start; the seconds until the next one might, None for "when woken"."""
        if self._closing:
            return None
        now = self._clock.monotonic_s()
        self._come_back(now)
        most = self._in_flight.allowed
        breaker = self.breaker
        if self.halt is not None or breaker.open:
            probe_s = max(self._probe_at - now if self.halt is not None else 0.0, breaker.wait_s(now))
            if probe_s > 0:
                return probe_s
            if self._flying:
                return None
            most = 1
        wait = self._start_requests(most, now)
        if len(self._flying) >= most:
            return None
        waits = [self._later[0][0] - now] if self._later else []
        if self._limited_records:
            waits.append(self._limited_at - now)
        if wait is not None:
            waits.append(wait)
        return max(min(waits), 0.0) if waits else None

    def _come_back(self, now: float) -> None:
        """What has waited long enough after a refusal is ready again, before all others."""
        later = self._later
        while later and later[0][0] <= now:
            back = heapq.heappop(later)[2]
            self._ready.extendleft(reversed(back))
            self._ready_bytes += sum(p.size for p in back)
            self._ready_since = min(self._ready_since, now - self._linger_s)

    def _start_requests(self, most: int, now: float) -> float | None:
        """Start up to *most* requests; the seconds until one that is not full has waited enough, else None."""
        limits = self._writer.limits
        flying, ready = self._flying, self._ready
        while len(flying) < most:
            if self._forced:
                self._start(self._forced.popleft())
                continue
            due_now = self._limited_records > 0 and self._limited_at <= now
            full = len(ready) >= limits.records or self._ready_bytes >= limits.request_bytes
            if not due_now and not full:
                if not ready:
                    return None
                due = self._ready_since + self._linger_s
                if due > now:
                    return due - now
            paced = bool(self.control.limits) or self._limited_records > 0
            batch = self._take_paced(now) if paced else self._take()
            if batch:
                self._start(batch)
        return None

    def _take(self) -> list[Pending]:
        """Cut the next request off the ready ones."""
        limits = self._writer.limits
        ready = self._ready
        most, room = limits.records, limits.request_bytes
        if len(ready) <= most and self._ready_bytes <= room:
            batch = list(ready)
            ready.clear()
            self._ready_bytes = 0
            return batch
        take = ready.popleft
        batch = [take() for _ in range(min(most, len(ready)))]
        size = sum([p.size for p in batch])
        while size > room and len(batch) > 1:
            back = batch.pop()
            size -= back.size
            ready.appendleft(back)
        self._ready_bytes -= size
        self._ready_since = self._clock.monotonic_s()
        return batch

    def _take_paced(self, now: float) -> list[Pending]:
        """The same while some shard is limited: its records wait for its rate, the others pass them (D6)."""
        limits = self._writer.limits
        most, room = limits.records, limits.request_bytes
        control = self.control
        control.relax()
        batch: list[Pending] = []
        size = 0
        for shard, queue in list(self._limited.items()):
            limit = control.limits.get(shard)
            while queue and len(batch) < most and (not batch or size + queue[0].size <= room):
                if limit is not None and not limit.take(queue[0].size, now, self):
                    break
                p = queue.popleft()
                size += p.size
                batch.append(p)
                self._limited_records -= 1
            if not queue:
                del self._limited[shard]
                if limit is not None:
                    limit.leave(self)
        ready = self._ready
        while ready and len(batch) < most:
            p = ready[0]
            if size + p.size > room and batch:
                break
            ready.popleft()
            self._ready_bytes -= p.size
            shard_id = control.shard_of(hash_of(p.key))
            limit = control.limits.get(shard_id) if shard_id is not None else None
            if limit is not None and shard_id is not None:
                queued = self._limited.get(shard_id)
                if queued or not limit.take(p.size, now, self):
                    self._limited.setdefault(shard_id, deque()).append(p)
                    self._limited_records += 1
                    continue
            size += p.size
            batch.append(p)
        self._ready_since = now
        # Tokens gather a little before they are taken, so that requests are worth sending.
        self._limited_at = now + _PACE_S
        return batch

    def _start(self, batch: list[Pending]) -> None:
        if self.discarding:
            batch = self._without_discarded(batch)
            if not batch:
                return
        limits = self._writer.limits
        most, chars = min(limits.record_bytes, limits.request_bytes), limits.key_chars
        lengths = [len(p.key) for p in batch]
        if max([p.size for p in batch]) > most or max(lengths) > chars or not min(lengths):
            batch = self._without_oversize(batch)
            if not batch:
                return
        self.counts.requests += 1
        if self.breaker.open:
            self.breaker.probe()
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
            if bound is None or p.export.ordinal >= bound[0]:
                rest.append(p)
            else:
                p.discarded, p.outcome = bound[1], None
                gone.append(p)
        if gone:
            self._release(gone)
        return rest

    def _without_oversize(self, batch: list[Pending]) -> list[Pending]:
        limits = self._writer.limits
        most = min(limits.record_bytes, limits.request_bytes)
        rest: list[Pending] = []
        for p in batch:
            if p.size > most:
                detail = f"{p.size} bytes of data and partition key, over the limit of {most}"
                self._reject(p, Outcome(code="record-too-large", detail=detail))
            elif len(p.key) > limits.key_chars or not p.key:
                self._reject(p, Outcome(code="bad-partition-key", detail=f"{len(p.key)} characters"))
            else:
                rest.append(p)
        return rest

    def _arrived(self, batch: list[Pending], outcomes: Sequence[Outcome], took_s: float) -> None:
        """What became of a request."""
        if len(outcomes) != len(batch):
            raise BugError(problem=f"{len(outcomes)} outcomes of {len(batch)} records, which W1 forbids")
        if self.halt is not None:
            verdicts = {o.verdict for o in outcomes}
            # No answer is no sign that records are accepted again.
            if Verdict.HALT not in verdicts and verdicts != {Verdict.UNKNOWN}:
                self.halt = None
                self._halts = 0
        delivered = batch
        refused: list[Pending] = []
        for p, outcome in zip(batch, outcomes, strict=True):
            p.attempts += 1
            p.outcome = outcome
            if outcome.verdict:
                refused.append(p)
        if refused:
            delivered = [p for p in batch if p.outcome is not None and not p.outcome.verdict]
        self._answered(batch, took_s)
        self._learn(delivered, refused, took_s)
        if delivered:
            self._release(delivered)
        if refused:
            self._refused(batch, refused)

    def _learn(self, delivered: list[Pending], refused: list[Pending], took_s: float) -> None:
        """What one answer tells about the stream: alive or not, how fast, which shard has which keys."""
        control = self.control
        if not delivered and _no_answer(refused):
            outcome = refused[0].outcome
            assert outcome is not None
            self._in_flight.failed()
            self.breaker.failed(outcome.code, outcome.detail, self._clock.monotonic_s())
            return
        if self.breaker.open:
            # All that waited for the stream to answer goes now.
            self._later = [(0.0, count, back) for _, count, back in self._later]
        self.breaker.answered()
        # A refusal that names its shard is that shard's trouble, and slows that shard alone (D6).
        loaded = any(p.outcome is not None and (not p.outcome.shard or control.seen.auto) for p in refused)
        self._in_flight.answered(took_s, refused=loaded)
        for p in refused:
            outcome = p.outcome
            if outcome is not None and outcome.shard and outcome.verdict == Verdict.RETRY:
                control.learn(hash_of(p.key), outcome.shard)
                control.throttled(outcome.shard)
        self._answers += 1
        if control.limits or not self._answers % _LOOK_EVERY:
            control.look([(p.key, p.outcome.shard) for p in delivered if p.outcome is not None and p.outcome.shard])

    # -- afterwards -------------------------------------------------------------------------------

    def _release(self, done: Sequence[Pending]) -> None:
        """These are settled: note it, and let the next of their lanes go."""
        size = 0
        for p in done:
            block = p.block
            block.bits |= 1 << p.index
            size += p.size + p.kept
        self.bytes -= size
        self.records -= len(done)
        self._let_go(done)
        self._settled(done)
        self._wake.set()

    def _let_go(self, done: Sequence[Pending]) -> None:
        """What waits for these may go."""
        lanes, ready = self._lanes, self._ready
        if not ready:
            self._ready_since = self._clock.monotonic_s()
        if self._ordered:
            for p in done:
                waiting = lanes.pop(p.lane)
                if waiting is None:
                    continue
                nxt = waiting.popleft()
                lanes[p.lane] = waiting or None
                if nxt.after:
                    self._offer(nxt)
                else:
                    ready.append(nxt)
                    self._ready_bytes += nxt.size
        if self._blocked:
            for p in done:
                place = (p.block.bucket, p.export.ordinal)
                if place in self._blocked:
                    self.released(*place)

    def _reject(self, p: Pending, outcome: Outcome) -> None:
        outcome.verdict = Verdict.REJECTED
        p.outcome = outcome
        self._refuse(p)

    def _refuse(self, p: Pending) -> None:
        """It is settled as a dead letter; what follows it goes once that is stored."""
        if not (self._confirmed and self._ordered):
            self._release((p,))
            return
        p.block.bits |= 1 << p.index
        self.bytes -= p.size + p.kept
        self.records -= 1
        self.refused[p.block.bucket, p.export.ordinal] = p
        self._settled((p,))
        self._wake.set()

    def stored(self, places: Sequence[tuple[int, int]]) -> None:
        """These of ``refused`` are on disk as dead letters."""
        done = [p for place in places if (p := self.refused.pop(place, None)) is not None]
        if done:
            self._let_go(done)
            self._wake.set()

    def _refused(self, batch: list[Pending], refused: list[Pending]) -> None:
        """Part of a request, or all of it, did not get through."""
        refusals = self.counts.refusals
        waits: dict[str, list[Pending]] = {}
        halted: list[Pending] = []
        split: list[Pending] = []
        for p in refused:
            outcome = p.outcome
            assert outcome is not None
            refusals[outcome.code] = refusals.get(outcome.code, 0) + 1
            verdict = outcome.verdict
            if verdict == Verdict.REJECTED:
                self._refuse(p)
            elif verdict == Verdict.HALT:
                halted.append(p)
            elif verdict == Verdict.SPLIT:
                split.append(p)
            else:
                if verdict == Verdict.UNKNOWN:
                    p.unknown += 1
                    self.counts.possible_duplicates += 1
                else:
                    self.counts.retried += 1
                waits.setdefault(outcome.shard, []).append(p)
        for group in waits.values():
            self._back_off(group)
        if split:
            self._split(batch, split)
        if halted:
            self._halted(halted)

    def _back_off(self, group: list[Pending]) -> None:
        """Try again later: full jitter under a doubling bound, one draw for all of one shard and request."""
        attempts = min(max(p.attempts for p in group), 16)
        bound = min(_MOST_WAIT_S, _FIRST_WAIT_S * 2.0 ** (attempts - 1))
        asked = max((p.outcome.wait_s for p in group if p.outcome is not None), default=0.0)
        wait = max(self._rng.uniform(0.0, bound), asked)
        self._count += 1
        heapq.heappush(self._later, (self._clock.monotonic_s() + wait, self._count, group))

    def _split(self, batch: list[Pending], split: list[Pending]) -> None:
        """Something in the request is refused: its halves go next, down to the one record at fault."""
        if len(batch) == 1:
            p = split[0]
            assert p.outcome is not None
            self._reject(p, p.outcome)
            return
        self.counts.retried += len(split)
        half = len(split) // 2
        self._forced.extend(part for part in (split[:half], split[half:]) if part)

    def _halted(self, halted: list[Pending]) -> None:
        """Keep the records and pause; a probe follows by itself."""
        outcome = halted[0].outcome
        assert outcome is not None
        now = self._clock.monotonic_s()
        known = self.halt is not None
        self.halt = Halt(outcome.code, outcome.detail)
        self.counts.retried += len(halted)
        self._ready.extendleft(reversed(halted))
        self._ready_bytes += sum(p.size for p in halted)
        if known and now < self._probe_at:
            return  # it was under way when another one halted: no further sign
        self._probe_at = now + _PROBE_S[min(self._halts, len(_PROBE_S) - 1)]
        self._halts += 1
        if not known:
            self._on_halt()


def _no_answer(refused: Sequence[Pending]) -> bool:
    """True when a whole request failed for a reason that is not of its records."""
    first = refused[0].outcome if refused else None
    if first is None or first.shard or first.verdict not in (Verdict.RETRY, Verdict.UNKNOWN):
        return False
    return all(p.outcome is not None and p.outcome.code == first.code and not p.outcome.shard for p in refused)
