"""Requests while some shard is limited: what it takes waits for its rate, and all others pass (D6)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from headrace.destinations.pending import Pending
from headrace.destinations.ready import Ready
from headrace.destinations.shards import StreamControl, hash_of

_PACE_S: Final = 0.05
"""Tokens gather so long before they are taken, so that requests are worth sending."""


class Paced:
    """What one flow has waiting for the rates of shards.

    Args:
        control: The stream's shards and their limits.
        ready: What may go otherwise.

    Attributes:
        count: Exports that wait for a rate.
        due_s: When the next of them may be taken, by the clock.
    """

    def __init__(self, control: StreamControl, ready: Ready) -> None:
        self._control = control
        self._ready = ready
        self._queues: dict[str, deque[Pending]] = {}
        self.count = 0
        self.due_s = 0.0

    @property
    def needed(self) -> bool:
        """Whether any shard is limited, or anything waits for one that was."""
        return bool(self._control.limits) or self.count > 0

    def cut(self, most: int, room: int, now_s: float) -> list[Pending]:
        """The next request, of up to *most* records and *room* bytes; it may be empty."""
        self._control.relax()
        batch: list[Pending] = []
        size = self._take_waiting(batch, most, room, now_s)
        self._take_ready(batch, size, most, room, now_s)
        self._ready.since_s = now_s
        self.due_s = now_s + _PACE_S
        return batch

    def _take_waiting(self, batch: list[Pending], most: int, room: int, now_s: float) -> int:
        """First what waited, as far as the rates allow; its bytes."""
        limits = self._control.limits
        size = 0
        for shard, queue in list(self._queues.items()):
            limit = limits.get(shard)
            while queue and len(batch) < most and (not batch or size + queue[0].size <= room):
                if limit is not None and not limit.take(queue[0].size, now_s, self):
                    break
                p = queue.popleft()
                size += p.size
                batch.append(p)
                self.count -= 1
            if not queue:
                del self._queues[shard]
                if limit is not None:
                    limit.leave(self)
        return size

    def _take_ready(self, batch: list[Pending], size: int, most: int, room: int, now_s: float) -> None:
        """Then what is ready: to its shard's queue where the rate does not allow it, else into the request."""
        control, ready = self._control, self._ready
        limits, queues = control.limits, self._queues
        while ready.count and len(batch) < most:
            part = ready.cut(most - len(batch), max(room - size, 0))
            if batch and size + part[0].size > room:
                ready.back(part)
                return
            for p in part:
                shard = control.shard_of(hash_of(p.key))
                limit = limits.get(shard) if shard is not None else None
                if limit is not None and shard is not None:
                    queue = queues.get(shard)
                    if queue or not limit.take(p.size, now_s, self):
                        if queue is None:
                            queue = queues[shard] = deque()
                        queue.append(p)
                        self.count += 1
                        continue
                size += p.size
                batch.append(p)

    def waiting(self) -> Iterator[Pending]:
        """All that wait for a rate."""
        return (p for queue in self._queues.values() for p in queue)
