"""Show what settles to whoever follows, and never wait for them.

Each follower has a queue bounded in bytes. What does not fit is not kept: the follower is told how many it missed.
With nobody following, nothing is done for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final

from headrace.destinations.base import Outcome, Verdict
from headrace.destinations.pending import Pending
from headrace.errors import RefusedError
from headrace.runtimes.embedded.engine import Engine

QUEUE_BYTES: Final = 4 << 20
MOST_FOLLOWERS: Final = 32
_OVERHEAD_BYTES: Final = 500
_NONE: Final = Outcome()


class _Follower:
    """One who follows.

    Args:
        flow: Only this flow; "" for all.
        profile: Only this profile; "" for all.
        queue_bytes: Most that is kept for it.
    """

    def __init__(self, flow: str, profile: str, queue_bytes: int) -> None:
        self.flow, self.profile = flow, profile
        self.queue: deque[tuple[str, Pending, int]] = deque()
        self.missed = 0
        self.woken = asyncio.Event()
        self._room = queue_bytes

    def put(self, flow_id: str, done: Sequence[Pending], now_ms: int) -> None:
        """Take what settled, as far as there is room."""
        if self.flow and self.flow != flow_id:
            return
        for p in done:
            if self.profile and self.profile != p.export.profile_id:
                continue
            size = len(p.export.data) + _OVERHEAD_BYTES
            if size > self._room:
                self.missed += 1
                continue
            self._room -= size
            self.queue.append((flow_id, p, now_ms))
        self.woken.set()

    def take(self) -> list[dict[str, Any]]:
        """What came since, and first how many are missing before it."""
        taken = [] if not self.missed else [{"missed": self.missed}]
        self.missed = 0
        while self.queue:
            flow_id, p, now_ms = self.queue.popleft()
            self._room += len(p.export.data) + _OVERHEAD_BYTES
            taken.append(settled(flow_id, p, now_ms))
        return taken


class Followers:
    """Those who follow an engine.

    Args:
        engine: Whose settlements.
        queue_bytes: Most that is kept for each.
    """

    def __init__(self, engine: Engine, queue_bytes: int = QUEUE_BYTES) -> None:
        self._engine = engine
        self._queue_bytes = queue_bytes
        self._followers: list[_Follower] = []

    async def follow(self, wanted: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        """What settles from now on.

        Args:
            wanted: ``flow`` and ``profile`` choose; absent or empty for all.

        Yields:
            First ``{"following": true}``; then objects as of ``settled``, or ``{"missed": n}`` where *n* are
            left out.

        Raises:
            RefusedError: There are too many followers.
        """
        if len(self._followers) >= MOST_FOLLOWERS:
            raise RefusedError(f"{MOST_FOLLOWERS} others follow already; close one of them")
        one = _Follower(str(wanted.get("flow") or ""), str(wanted.get("profile") or ""), self._queue_bytes)
        self._followers.append(one)
        if len(self._followers) == 1:
            self._engine.on_settled.append(self._told)
        try:
            yield {"following": True}
            while True:
                await one.woken.wait()
                one.woken.clear()
                for each in one.take():
                    yield each
        finally:
            self._followers.remove(one)
            if not self._followers:
                self._engine.on_settled.remove(self._told)

    def _told(self, flow_id: str, done: Sequence[Pending], now_ms: int) -> None:
        for one in self._followers:
            one.put(flow_id, done, now_ms)


def settled(flow_id: str, p: Pending, now_ms: int) -> dict[str, Any]:
    """A settled export as it is shown: ids, cause, message, the destination's answer, and how long it took."""
    export, outcome = p.export, p.outcome or _NONE
    return {
        "flow": flow_id,
        "profile": export.profile_id,
        "export": export.export_id,
        "seq": export.seq,
        "version": export.version,
        "epoch": export.epoch,
        "cause": {name: getattr(export.cause, name) for name in export.cause.__struct_fields__},
        "message": export.data.decode(errors="backslashreplace"),
        "outcome": "rejected" if outcome.verdict == Verdict.REJECTED else "delivered",
        "code": outcome.code,
        "detail": outcome.detail,
        "shard": outcome.shard,
        "sequence": outcome.sequence,
        "attempts": p.attempts,
        "made_ms": export.made_ms,
        "settled_ms": now_ms,
        "latency_ms": now_ms - export.made_ms,
    }
