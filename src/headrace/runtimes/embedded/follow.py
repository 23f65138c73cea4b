"""Show what settles to whoever follows, and never wait for them.

Each follower has a queue bounded in bytes. What does not fit is not kept: the follower is told how many it missed.
Chosen first, then made: an export that no follower is sent costs a comparison at most, one that several are sent is
encoded once, and masking is left to whoever shows it. With nobody following, nothing is done at all.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final

import msgspec

from headrace.destinations.base import Outcome, Verdict
from headrace.destinations.pending import Pending
from headrace.errors import RefusedError
from headrace.runtimes.embedded.engine import Engine

QUEUE_BYTES: Final = 4 << 20
MOST_FOLLOWERS: Final = 32
_OVERHEAD_BYTES: Final = 500
_SECOND_MS: Final = 1000
_NONE: Final = Outcome()


class _Settled:
    """A settled export, encoded when the first follower is sent it, and for all of them.

    Args:
        flow_id: Its flow.
        p: The export.
        now_ms: When it settled.
    """

    __slots__ = ("_flow_id", "_line", "_now_ms", "_p", "size")

    def __init__(self, flow_id: str, p: Pending, now_ms: int) -> None:
        self._flow_id, self._p, self._now_ms = flow_id, p, now_ms
        self._line: msgspec.Raw | None = None
        self.size = len(p.message) + _OVERHEAD_BYTES

    @property
    def line(self) -> msgspec.Raw:
        """``settled`` as JSON."""
        if self._line is None:
            self._line = msgspec.Raw(msgspec.json.encode(settled(self._flow_id, self._p, self._now_ms)))
        return self._line


class _Follower:
    """One who follows.

    Args:
        flow: Only this flow; "" for all.
        profile: Only this profile; "" for all.
        queue_bytes: Most that is kept for it.
        audience: Only messages that name the audience of this id; "" for all.
        most_a_second: Most that it is sent of a second of the engine's clock, for one who reads no more; 0 for all.
    """

    def __init__(
        self, flow: str, profile: str, queue_bytes: int, *, audience: str = "", most_a_second: int = 0
    ) -> None:
        self._flow, self._profile = flow, profile
        self._named = f'"{audience}"'.encode() if audience else b""
        self._most, self._second, self._given, self._last_ms = most_a_second, -1, 0, 0
        self._queue: deque[_Settled] = deque()
        self._missed = 0
        self.woken = asyncio.Event()
        self._room = queue_bytes

    def put(self, flow_id: str, done: Sequence[Pending], now_ms: int, made: dict[Pending, _Settled]) -> None:
        """Take what settled, as far as there is room.

        Args:
            flow_id: Of all of them.
            done: What settled.
            now_ms: The time.
            made: What followers before this one took of them.
        """
        if self._flow and self._flow != flow_id:
            return
        if self._profile or self._named:
            done = [p for p in done if self._about(p)]
            if not done:
                return
        room = self._left(len(done), now_ms)
        for p in done[:room]:
            one = made.get(p)
            if one is None:
                one = made[p] = _Settled(flow_id, p, now_ms)
            if one.size > self._room:
                self._missed += 1
                continue
            self._room -= one.size
            self._queue.append(one)
        self._missed += len(done) - room
        self.woken.set()

    def _about(self, p: Pending) -> bool:
        """True for one of the profile and the audience that are asked for."""
        return (not self._profile or self._profile == p.lane) and self._named in p.message

    def _left(self, count: int, now_ms: int) -> int:
        """Of so many, how many the present second has room for."""
        self._last_ms = now_ms
        if not self._most:
            return count
        # Seconds of the clock, not of the follower: those who see everything see the same, made once.
        second = now_ms // _SECOND_MS
        if second != self._second:
            self._second, self._given = second, 0
        left = min(count, self._most - self._given)
        self._given += left
        return left

    def pause_s(self) -> float:
        """How long to wait before telling what is missed: nothing comes for the rest of this second anyway."""
        if self._queue or not self._most:
            return 0.0
        return (_SECOND_MS - self._last_ms % _SECOND_MS) / 1000

    def take(self) -> list[Any]:
        """What came since, and first how many are missing before it."""
        taken: list[Any] = [{"missed": self._missed}] if self._missed else []
        self._missed = 0
        while self._queue:
            one = self._queue.popleft()
            self._room += one.size
            taken.append(one.line)
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

    async def follow(self, wanted: Mapping[str, Any]) -> AsyncGenerator[Sequence[Any]]:
        """What settles from now on.

        Args:
            wanted: ``flow``, ``profile`` and ``audience`` choose; absent or empty for all. ``most_a_second``
                bounds what is sent; the rest is counted, and costs next to nothing.

        Yields:
            What came together: first ``{"following": true}`` alone; then objects as of ``settled``, as JSON, or
            ``{"missed": n}`` where *n* are left out.

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
            yield [{"following": True}]
            while True:
                await one.woken.wait()
                if pause_s := one.pause_s():
                    await asyncio.sleep(pause_s)
                one.woken.clear()
                yield one.take()
        finally:
            self._followers.remove(one)
            if not self._followers:
                self._engine.on_settled.remove(self._told)

    def _told(self, flow_id: str, done: Sequence[Pending], now_ms: int) -> None:
        made: dict[Pending, _Settled] = {}
        for one in self._followers:
            one.put(flow_id, done, now_ms, made)


def settled(flow_id: str, p: Pending, now_ms: int) -> dict[str, Any]:
    """A settled export as it is shown: ids, cause, message, the destination's answer, and how long it took."""
    outcome = p.outcome or _NONE
    return {
        "flow": flow_id,
        "profile": p.lane,
        "export": p.export_id,
        "seq": p.seq,
        "version": p.version,
        "epoch": p.epoch,
        "cause": {name: getattr(p.cause, name) for name in p.cause.__struct_fields__},
        "message": p.message.decode(errors="backslashreplace"),
        "outcome": "rejected" if outcome.verdict == Verdict.REJECTED else "delivered",
        "code": outcome.code,
        "detail": outcome.detail,
        "shard": outcome.shard,
        "sequence": outcome.sequence,
        "attempts": p.attempts,
        "made_ms": p.made_ms,
        "settled_ms": now_ms,
        "latency_ms": now_ms - p.made_ms,
    }
