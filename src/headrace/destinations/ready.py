"""What may be sent now, in the order in which it goes, cut into requests."""

from __future__ import annotations

from collections import deque
from typing import Final

from headrace.clock import Clock
from headrace.destinations.pending import Pending, sizes

_RUN: Final = 1024
"""Exports of a run at the most: what is left of one that is cut is moved."""


class Ready:
    """A queue of exports, kept in runs so that a request is a slice and no walk.

    Args:
        clock: Tells since when the first of them waits.

    Attributes:
        count: Exports in it.
        bytes: Their sizes.
        since_s: When it was empty or cut last, by the clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._runs: deque[list[Pending]] = deque()
        self.count = 0
        self.bytes = 0
        self.since_s = 0.0

    def extend(self, exports: list[Pending]) -> None:
        """These may go, after all others. The list is taken over."""
        count = len(exports)
        if not count:
            return
        if not self.count:
            self.since_s = self._clock.monotonic_s()
        self.count += count
        self.bytes += sizes(exports)[0]
        runs = self._runs
        if runs:
            last = runs[-1]
            if len(last) + count <= _RUN:
                last.extend(exports)
                return
        if count <= _RUN:
            runs.append(exports)
            return
        for start in range(0, count, _RUN):
            runs.append(exports[start : start + _RUN])

    def back(self, exports: list[Pending]) -> None:
        """These go before all others, in their order. The list is taken over."""
        self.bytes += sizes(exports)[0]
        self.count += len(exports)
        if exports:
            self._runs.appendleft(exports)

    def cut(self, most: int, room: int) -> list[Pending]:
        """Take off the next ones, up to *most* records and *room* bytes; one at least, whatever its size."""
        runs = self._runs
        batch: list[Pending] = []
        while runs and len(batch) < most:
            run = runs[0]
            want = most - len(batch)
            if len(run) > want:
                batch.extend(run[:want])
                del run[:want]
            else:
                runs.popleft()
                if batch:
                    batch.extend(run)
                else:
                    batch = run
        size = sizes(batch)[0]
        if size > room and len(batch) > 1:
            size = self._trim(batch, size, room)
        self.count -= len(batch)
        self.bytes -= size
        self.since_s = self._clock.monotonic_s()
        return batch

    def _trim(self, batch: list[Pending], size: int, room: int) -> int:
        """Put back what is over *room* bytes; the size of what is left."""
        rest: list[Pending] = []
        while size > room and len(batch) > 1:
            p = batch.pop()
            size -= p.size
            rest.append(p)
        rest.reverse()
        self._runs.appendleft(rest)
        return size

    def all(self) -> list[Pending]:
        """All of them, for looking."""
        return [p for run in self._runs for p in run]
