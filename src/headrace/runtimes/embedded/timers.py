"""Time that passes: ticks for the profiles whose memberships run out (core/lifetimes.py), from timers on disk.

Whenever a membership changes that will end, the commit that changes it stores a timer at that time. One that is
overtaken by later changes is not looked for: it fires, finds that nothing has run out, and is gone.

Holds always (tests/runtimes/test_timers.py checks each by its number):
    T1  For every membership that will end there is a timer at that time, or up to a second later.
    T2  A timer leaves in the commit of its ticks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from headrace.core.flow import Snapshot
from headrace.core.glance import glance
from headrace.core.lifetimes import has_run_out
from headrace.core.model import Tick
from headrace.runtimes.embedded.decision import Command, Decision
from headrace.state import records
from headrace.state.base import Batch, State
from headrace.state.keys import END, Keys

_READ_AT_ONCE: Final = 256


class Timers:
    """An inner source; see the module and runtimes/embedded/inner.py.

    Args:
        state: Where timers lie.
        keys: Of the sandbox.
        snapshot: Gives the configuration in force.
    """

    def __init__(self, state: State, keys: Keys, snapshot: Callable[[], Snapshot]) -> None:
        self._state, self._keys, self._snapshot = state, keys, snapshot
        self._floor = keys.space(END)[0]
        """No timer lies before: what was deleted there is not walked over again."""
        self._next_ms = self._soonest()

    def _soonest(self) -> int | None:
        """Due time of the first timer; None when there is none."""
        key = next((key for key, _ in self._state.scan(self._floor, self._keys.space(END)[1])), None)
        return int.from_bytes(key[-16:-8], "big") if key is not None else None

    def noted(self, soonest_ms: int | None) -> None:
        """A commit has stored timers; the first of them is due then."""
        if soonest_ms is None:
            return
        self._floor = min(self._floor, self._keys.numbered(END, soonest_ms))
        if self._next_ms is None or soonest_ms < self._next_ms:
            self._next_ms = soonest_ms

    def due_ms(self, now_ms: int) -> int | None:
        """See ``Inner``."""
        return self._next_ms

    def take(self, most: int, now_ms: int, batch: Batch) -> Sequence[Command]:
        """See ``Inner``: whoever has a membership that has run out."""
        ticks: dict[str, None] = {}
        for key, value in self._state.scan(self._floor, self._keys.numbered(END, now_ms + 1)):
            if len(ticks) >= most:
                self._next_ms = int.from_bytes(key[-16:-8], "big")
                return [Tick(profile_id) for profile_id in ticks]
            done = self._look(value, most, now_ms, ticks)
            if done < len(value):
                batch.put(key, value[done:])
                self._next_ms = now_ms
                return [Tick(profile_id) for profile_id in ticks]
            batch.delete(key)
            self._floor = key + b"\0"
        self._next_ms = self._soonest()
        return [Tick(profile_id) for profile_id in ticks]

    def _look(self, profiles: bytes, most: int, now_ms: int, ticks: dict[str, None]) -> int:
        """Add those of a timer's profiles that have something to do; the bytes of the timer that are dealt with."""
        rules = self._snapshot().lifetimes
        step = _READ_AT_ONCE * records.ID_BYTES
        for at in range(0, len(profiles), step):
            some = profiles[at : at + step]
            ids = [records.unpack_id(some, index) for index in range(len(some) // records.ID_BYTES)]
            stored = self._state.get_many([self._keys.profile(profile_id) for profile_id in ids])
            for index, (profile_id, value) in enumerate(zip(ids, stored, strict=True)):
                if value is None or profile_id in ticks or not has_run_out(glance(value).memberships, now_ms, rules):
                    continue
                if len(ticks) >= most:
                    return at + index * records.ID_BYTES
                ticks[profile_id] = None
        return len(profiles)

    def decided(self, answers: Sequence[tuple[str, ...]], decision: Decision, now_ms: int, batch: Batch) -> None:
        """See ``Inner``: the ticks have stored what ends next."""
