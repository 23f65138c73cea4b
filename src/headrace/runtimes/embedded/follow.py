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
_SECOND_MS: Final = 1000
_NONE: Final = Outcome()


class _Follower:
    """One who follows.

    Args:
        flow: Only this flow; "" for all.
        profile: Only this profile; "" for all.
        queue_bytes: Most that is kept for it.
        audience: Only messages that name the audience of this id; "" for all.
        most_a_second: Most that it is sent within a second, for one who reads no more; 0 for all.
    """

    def __init__(
        self, flow: str, profile: str, queue_bytes: int, *, audience: str = "", most_a_second: int = 0
    ) -> None:
        self.flow, self.profile = flow, profile
        self._named = f'"{audience}"'.encode() if audience else b""
        self._most, self._began_ms, self._last_ms, self._given = most_a_second, 0, 0, 0
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
            if self._named and self._named not in p.export.data:
                continue
            size = len(p.export.data) + _OVERHEAD_BYTES
            if size > self._room or not self._in_time(now_ms):
                self.missed += 1
                continue
            self._room -= size
            self.queue.append((flow_id, p, now_ms))
        if self.queue or self.missed:
            self.woken.set()

    def _in_time(self, now_ms: int) -> bool:
        """True while the present second has room for one more."""
        self._last_ms = now_ms
        if not self._most:
            return True
        if not 0 <= now_ms - self._began_ms < _SECOND_MS:
            self._began_ms, self._given = now_ms, 0
        self._given += 1
        return self._given <= self._most

    def pause_s(self) -> float:
        """How long to wait before telling what is missed: nothing comes for the rest of this second anyway."""
        if self.queue or not self._most:
            return 0.0
        return max(0, self._began_ms + _SECOND_MS - self._last_ms) / 1000

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
            wanted: ``flow``, ``profile`` and ``audience`` choose; absent or empty for all. ``most_a_second``
                bounds what is sent; the rest is counted, and costs next to nothing.

        Yields:
            First ``{"following": true}``; then objects as of ``settled``, or ``{"missed": n}`` where *n* are
            left out.

        Raises:
            RefusedError: There are too many followers.
        """
        if len(self._followers) >= MOST_FOLLOWERS:
            raise RefusedError(f"{MOST_FOLLOWERS} others follow already; close one of them")
        one = _Follower(
            str(wanted.get("flow") or ""), str(wanted.get("profile") or ""), self._queue_bytes,
            audience=str(wanted.get("audience") or ""), most_a_second=max(0, int(wanted.get("most_a_second") or 0)),
        )  # fmt: skip
        self._followers.append(one)
        if len(self._followers) == 1:
            self._engine.on_settled.append(self._told)
        try:
            yield {"following": True}
            while True:
                await one.woken.wait()
                if pause_s := one.pause_s():
                    await asyncio.sleep(pause_s)
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
