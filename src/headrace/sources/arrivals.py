"""Requests between their arrival and their answer: a queue of updates, bounded in bytes, in the order of arrival."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from headrace.sources.base import Batch, Refused

OVERHEAD_BYTES: Final = 4_096
"""What a request takes beside its body, for the bound."""


class Request:
    """One request: one update, or several.

    Attributes:
        inlet: Where it was sent.
        ref: Its transaction id or batch id.
        bodies: n >= 1 updates.
        key: Its Idempotency-Key, or None.
        batch: It is a batch, also when it holds one update.
        refusals: Those refused so far, with indexes into *bodies*.
        answered: True once all are durable, False when the listener closed before.
    """

    __slots__ = ("answered", "batch", "bodies", "inlet", "key", "ref", "refusals", "settled", "taken")

    def __init__(
        self,
        inlet: str,
        ref: str,
        bodies: Sequence[bytes],
        key: str | None,
        answered: asyncio.Future[bool],
        *,
        batch: bool,
    ) -> None:
        self.inlet = inlet
        self.ref = ref
        self.bodies = bodies
        self.key = key
        self.batch = batch
        self.answered = answered
        self.refusals: list[Refused] = []
        self.taken = 0
        self.settled = 0

    def settle(self, count: int) -> None:
        """*count* more of its updates are durable or refused."""
        self.settled += count
        if self.settled == len(self.bodies) and not self.answered.done():
            self.answered.set_result(True)

    def update_id(self, index: int) -> str | None:
        """The id of one update: the key, followed by the index within a batch."""
        return f"{self.key}:{index}" if self.batch and self.key is not None else self.key

    def place(self, index: int) -> str:
        """Where one update came from, in words."""
        part = f"batch {self.ref} message {index}" if self.batch else f"request {self.ref}"
        return f"inlet {self.inlet} {part}"


class Arrivals:
    """The queue.

    Args:
        source: Id of the source.
        limit_bytes: The most that all requests between arrival and answer may take.
    """

    def __init__(self, source: str, limit_bytes: int) -> None:
        self._source = source
        self._limit = limit_bytes
        self._held_bytes = 0
        self._waiting: deque[Request] = deque()
        self._open: set[Request] = set()  # taken, not yet answered
        self._something = asyncio.Event()
        self._quiet = asyncio.Event()
        self.closing = False
        self.taken = 0

    def fits(self, size_bytes: int) -> bool:
        """There is room for as much more."""
        return self._held_bytes + size_bytes <= self._limit

    def hold(self, size_bytes: int) -> None:
        """Count bytes; negative ones let go."""
        self._held_bytes += size_bytes

    def put(self, request: Request) -> None:
        """Add a request at the end."""
        self._waiting.append(request)
        self._something.set()

    async def take(self, most: int) -> Batch | None:
        """Up to *most* updates of the requests that wait, as soon as there is one; None when closed."""
        while not self._waiting:
            if self.closing:
                return None
            self._something.clear()
            await self._something.wait()
        parts: list[tuple[Request, int, int]] = []
        bodies: list[bytes] = []
        keyed = False
        while self._waiting and (left := most - len(bodies)):
            request = self._waiting[0]
            start, stop = request.taken, min(request.taken + left, len(request.bodies))
            if stop - start == len(request.bodies):
                bodies.extend(request.bodies)
            else:
                bodies.extend(request.bodies[start:stop])
            parts.append((request, start, stop))
            keyed = keyed or request.key is not None
            request.taken = stop
            self._open.add(request)
            if stop == len(request.bodies):
                self._waiting.popleft()
        self.taken += len(bodies)
        ids = [request.update_id(index) for request, start, stop in parts for index in range(start, stop)]
        return Batch(
            source=self._source,
            bodies=bodies,
            place=_places(parts),
            position=None,
            acknowledge=self._acknowledger(parts),
            keep_refused=False,
            ids=ids if keyed else None,
        )

    def _acknowledger(self, parts: list[tuple[Request, int, int]]) -> Callable[[Sequence[Refused]], None]:
        def acknowledge(refused: Sequence[Refused]) -> None:
            by_index = sorted(refused, key=lambda one: one.index)
            base = at = 0
            for request, start, stop in parts:
                end = base + stop - start
                while at < len(by_index) and by_index[at].index < end:
                    one = by_index[at]
                    request.refusals.append(Refused(one.index - base + start, one.reason, one.problem))
                    at += 1
                request.settle(stop - start)
                if request.settled == len(request.bodies):
                    self._open.discard(request)
                base = end
            if self.closing and not self._open:
                self._quiet.set()

        return acknowledge

    async def close(self, grace_s: float) -> None:
        """Turn away what was not taken, and give what was taken *grace_s* to be acknowledged.

        Cancelled, it stops waiting: what was taken is answered as of unknown fate.
        """
        self.closing = True
        self._something.set()
        while self._waiting:
            request = self._waiting.popleft()
            request.answered.set_result(False)
            self._open.discard(request)
        if self._open:
            try:
                async with asyncio.timeout(grace_s):
                    await self._quiet.wait()
            except TimeoutError:
                pass
            finally:
                for request in self._open:
                    if not request.answered.done():
                        request.answered.set_result(False)


def _places(parts: list[tuple[Request, int, int]]) -> Callable[[int], str]:
    def place(index: int) -> str:
        for request, start, stop in parts:
            if index < stop - start:
                return request.place(start + index)
            index -= stop - start
        raise IndexError(index)

    return place
