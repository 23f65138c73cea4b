"""The order of exports: of a profile one after the other, and none before what it waits for by name.

A profile is a lane. Its head is ready, or on its way, or waits for exports of other lanes; the others hang behind it,
each by the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headrace.destinations.pending import Pending
from headrace.destinations.ready import Ready


class Lanes:
    """See the module.

    Args:
        ready: Gets what may go.
        unsettled: Tells whether (bucket, ordinal) of this flow still waits somewhere.
        ordered: False gives up lanes.

    Attributes:
        refused: Refused for good and not yet stored as that, by bucket and ordinal: what follows waits for it.
    """

    def __init__(self, ready: Ready, unsettled: Callable[[int, int], bool], *, ordered: bool) -> None:
        self._ready = ready
        self._unsettled = unsettled
        self.ordered = ordered
        self.refused: dict[tuple[int, int], Pending] = {}
        self._heads: dict[str, Pending] = {}
        self._blocked: dict[tuple[int, int], list[Pending]] = {}
        """By what is waited for, the heads that do."""
        self._stalled: dict[str, Pending] = {}
        """Heads that are in ``_blocked``, by lane."""

    def add(self, exports: Sequence[Pending]) -> None:
        """Take exports in, those of a lane in their order, but see ``Dispatcher.add``."""
        heads, ordered = self._heads, self.ordered
        fresh: list[Pending] = []
        for p in exports:
            if ordered:
                head = heads.setdefault(p.lane, p)
                if head is not p:
                    self._queue(head, p, fresh)
                    continue
            if p.after and self._held(p):
                continue
            fresh.append(p)
        self._ready.extend(fresh)

    def _queue(self, head: Pending, p: Pending, fresh: list[Pending]) -> None:
        """Hang an export behind the head of its lane; before it, where the head waits for this very one."""
        last = head.last
        if self._stalled and p.lane in self._stalled and p.ordinal < head.ordinal:
            self._unstall(head)
            p.behind, p.last = head, last or head
            head.last = None
            self._heads[p.lane] = p
            if not (p.after and self._held(p)):
                fresh.append(p)
        elif last is None:
            head.behind = head.last = p
        elif last.ordinal <= p.ordinal:
            last.behind = head.last = p
        else:
            _insert(head, p)

    def _unstall(self, head: Pending) -> None:
        del self._stalled[head.lane]
        for place in head.after:
            blocked = self._blocked.get(place)
            if blocked is not None and head in blocked:
                blocked.remove(head)

    def _held(self, p: Pending) -> bool:
        """Whether something must be settled before it; then it waits for that."""
        for place in p.after:
            if place in self.refused or self._unsettled(place[0], place[1]):
                self._blocked.setdefault(place, []).append(p)
                if self.ordered:
                    self._stalled[p.lane] = p
                return True
        return False

    def let_go(self, done: Sequence[Pending]) -> None:
        """These are settled: what waits for them may go."""
        if self.ordered:
            heads = self._heads
            fresh: list[Pending] = []
            for p in done:
                after = p.behind
                if after is None:
                    del heads[p.lane]
                    continue
                after.last = None if p.last is after else p.last
                p.behind = p.last = None
                heads[p.lane] = after
                if after.after and self._held(after):
                    continue
                fresh.append(after)
            self._ready.extend(fresh)
        if self._blocked:
            for p in done:
                place = (p.bucket, p.ordinal)
                if place in self._blocked:
                    self.released(place)

    def released(self, place: tuple[int, int]) -> None:
        """What waited for the export at (bucket, ordinal) may go, unless it waits for another one too."""
        waited = self._blocked.pop(place, None)
        if waited is None:
            return
        fresh: list[Pending] = []
        for p in waited:
            self._stalled.pop(p.lane, None)
            if not self._held(p):
                fresh.append(p)
        self._ready.extend(fresh)

    def recheck(self) -> bool:
        """Let go what waits for exports that turned out to be settled already; whether there was any."""
        gone = [place for place in self._blocked if place not in self.refused and not self._unsettled(*place)]
        for place in gone:
            self.released(place)
        return bool(gone)

    def hold(self, p: Pending) -> None:
        """It is refused for good: what follows waits until that is stored."""
        self.refused[p.bucket, p.ordinal] = p

    def stored(self, places: Sequence[tuple[int, int]]) -> None:
        """These of ``refused`` are on disk as dead letters."""
        done: list[Pending] = []
        for place in places:
            p = self.refused.pop(place, None)
            if p is not None:
                done.append(p)
        self.let_go(done)


def _insert(head: Pending, p: Pending) -> None:
    """Hang an export into its place behind the head, before the last."""
    at = head
    while True:
        after = at.behind
        if after is None or after.ordinal > p.ordinal:
            break
        at = after
    p.behind = after
    at.behind = p
