"""Runs over the profiles: export those who qualified before, or send members again.

A run (``runs.py``) walks over the profiles by key, some at a time, beside the live traffic. It looks at the stored
bytes, and gives an input for each profile that is to be exported (``scope.py``): what is exported is the profile as
the loop then knows it, so never an older state after a newer one. How far it is, is stored in the commit of its
inputs, and how fast it may be, ``pace.py`` says.

Holds always (tests/runtimes/test_backfill.py checks each by its number):
    B1  Every profile that is a member when a run starts, and still is when it is looked at, is exported by the run,
        or was told of by an export made since the start.
    B2  A kill at any instruction neither skips a profile nor exports one twice.
    B3  A run gives no inputs while its flow is paused, holds back, or has a backlog already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from headrace.core.flow import Snapshot
from headrace.core.model import Backfill
from headrace.runtimes.embedded.decision import Command, Decision
from headrace.runtimes.embedded.flow import RunningFlow
from headrace.runtimes.embedded.pace import Pace
from headrace.runtimes.embedded.runs import Runs
from headrace.runtimes.embedded.scope import Scope, ahead
from headrace.state.base import Batch, State
from headrace.state.keys import Keys
from headrace.state.runs import RUNNING, Run

_LOOKED_AT_ONCE: Final = 2000
"""Profiles that a round looks at: about 20 ms."""
_BACKLOG_BYTES: Final = 8 << 20


class _Taken(msgspec.Struct):
    run: Run
    commands: list[Command]


class Backfills:
    """An inner source; see the module and runtimes/embedded/inner.py.

    Args:
        state: Where profiles lie.
        keys: Of the sandbox.
        runs: The runs' records.
        snapshot: Gives the configuration in force.
        flows: The flows at work.
        holding: Whether a flow, by its id, holds back, or makes up for having done so.
    """

    def __init__(
        self, state: State, keys: Keys, runs: Runs, *, snapshot: Callable[[], Snapshot],
        flows: Mapping[str, RunningFlow], holding: Callable[[str], bool],
    ) -> None:  # fmt: skip
        self._state, self._keys, self._runs = state, keys, runs
        self._snapshot, self._flows, self._holding = snapshot, flows, holding
        self._pace = Pace()
        self._taken: list[_Taken] = []

    def waits(self, run: Run) -> str:
        """Why a run that is running does not get on: its flow's state in words; "" when it does."""
        flow = self._flows.get(run.flow)
        if flow is None:
            return "the flow is not there"
        if flow.compiled.paused:
            return "the flow is paused"
        if self._holding(run.flow):
            return "the flow is over its budget"
        if flow.outbox.stored_bytes > min(_BACKLOG_BYTES, flow.compiled.disk_budget_bytes // 4):
            return "the flow's backlog comes first"
        return ""

    def busy(self) -> bool:
        """True when a run will get on by itself."""
        running = [run for run in map(self._runs.__getitem__, self._runs.turn) if run.state == RUNNING]
        return any((flow := self._flows.get(run.flow)) is not None and not flow.stuck for run in running)

    def _able(self) -> list[Run]:
        """The runs that get on, in turn."""
        found = [self._runs[run_id] for run_id in self._runs.turn]
        return [run for run in found if run.state == RUNNING and not self.waits(run)]

    def due_ms(self, now_ms: int) -> int | None:
        """See ``Inner``."""
        return min((self._pace.next_ms(run, now_ms) for run in self._able()), default=None)

    def take(self, most: int, now_ms: int, batch: Batch) -> Sequence[Command]:
        """See ``Inner``: the next profiles of the runs, in turn."""
        self._taken = []
        self._pace.keep(self._runs.turn)
        looked = _LOOKED_AT_ONCE
        for run in self._able():
            room = self._pace.room(run, now_ms, most)
            if room <= 0:
                continue
            before = run.scanned
            commands = self._walk(run, room, looked, now_ms)
            looked -= run.scanned - before
            most -= len(commands)
            self._taken.append(_Taken(run, commands))
            self._runs.turn.rotate(-1)
            if looked <= 0 or most <= 0:
                break
        return [command for taken in self._taken for command in taken.commands]

    def _walk(self, run: Run, room: int, looked: int, now_ms: int) -> list[Command]:
        """Look at the next profiles of a run, up to *looked*, for up to *room* inputs."""
        scope = Scope(run, self._snapshot().by_id[run.flow], now_ms)
        commands: list[Command] = []
        excluded: dict[str, int] = {}
        why_not, skip = scope.why_not, len(self._keys.profile(""))
        scanned = 0
        for place, key, stored in ahead(run, self._state, self._keys):
            why = why_not(stored) if stored is not None else "unknown-profile"
            if not why:
                who = key[skip:].decode()
                commands.append(Backfill(who, run.flow, run.id, run.kind, scope.unless_since))
            else:
                excluded[why] = excluded.get(why, 0) + 1
            scanned += 1
            if scanned >= looked or len(commands) >= room:
                run.after = place or key[skip:].decode()
                break
        else:
            self._runs.done(run)
        run.scanned += scanned
        run.excluded = {w: run.excluded.get(w, 0) + excluded.get(w, 0) for w in run.excluded | excluded}
        self._pace.got_on(run, len(commands), now_ms)
        return commands

    def decided(self, answers: Sequence[tuple[str, ...]], decision: Decision, now_ms: int, batch: Batch) -> None:
        """See ``Inner``: how far each run is, and what came of it."""
        places = {flow.id: index for index, flow in enumerate(self._snapshot().flows)}
        first = 0
        for taken in self._taken:
            run, place = taken.run, places[taken.run.flow]
            for answer in answers[first : first + len(taken.commands)]:
                if answer[place]:
                    run.excluded[answer[place]] = run.excluded.get(answer[place], 0) + 1
                else:
                    run.exported += 1
            first += len(taken.commands)
            self._runs.put(batch, run)
        self._taken = []
