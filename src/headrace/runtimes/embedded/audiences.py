"""Which audiences each flow tells of now; those that are new get a backfill of their members.

An audience becomes new to a flow when it is mapped, when the flow is made, and on its start date. What each flow told
of is kept in the state, so whatever changed while nothing ran is noticed at the next start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from headrace.core.flow import CompiledFlow, Snapshot
from headrace.runtimes.embedded.decision import Command, Decision
from headrace.runtimes.embedded.runs import Runs
from headrace.state.base import Batch, State
from headrace.state.keys import FACT, Keys

_Told = dict[str, list[tuple[str, str]]]
_decode: Final = msgspec.msgpack.Decoder(_Told).decode


class Audiences:
    """An inner source, which begins runs and gives no inputs of its own; see the module.

    Args:
        state: Where it is kept what each flow tells of.
        keys: Of the sandbox.
        snapshot: Gives the configuration in force.
        runs: Begins them.
        automatic: False only notes what there is.
    """

    def __init__(
        self, state: State, keys: Keys, *, snapshot: Callable[[], Snapshot], runs: Runs, automatic: bool
    ) -> None:
        self._key = keys.named(FACT, "audiences")
        stored = state.get_many([self._key])[0]
        self._told = _decode(stored) if stored is not None else None
        self._snapshot, self._runs, self._automatic = snapshot, runs, automatic
        self._next_ms: int | None = 0
        self._begun: dict[tuple[str, str], str] = {}
        """Flow and audience id, of what is mapped now, to the run that this process began when it was new."""

    def changed(self) -> None:
        """Another configuration is in force."""
        self._next_ms = 0

    @property
    def looked(self) -> bool:
        """False while the configuration in force is still to be looked at."""
        return self._next_ms != 0

    def begun(self, flow_id: str, segments: Sequence[str]) -> list[str]:
        """Ids of the runs that were begun because these audiences became new to the flow, each once."""
        found = (self._begun.get((flow_id, segment_id)) for segment_id in segments)
        return list(dict.fromkeys(run_id for run_id in found if run_id is not None))

    def due_ms(self, now_ms: int) -> int | None:
        """See ``Inner``: the next start or end date."""
        return self._next_ms

    def take(self, most: int, now_ms: int, batch: Batch) -> Sequence[Command]:
        """See ``Inner``."""
        flows = self._snapshot().flows
        now = {flow.id: _active(flow, now_ms) for flow in flows}
        if self._told is not None and self._automatic:
            for flow_id, segments in now.items():
                new = set(segments) - set(self._told.get(flow_id, ())) - self._runs.covered(flow_id)
                if new:
                    # A flow that is new altogether is walked for once.
                    run = self._runs.begin(batch, flow_id, "backfill", sorted(new), automatic=True)
                    self._begun |= {(flow_id, segment_id): run.id for _, segment_id in new}
        if now != self._told:
            mapped = {(flow_id, segment_id) for flow_id, segments in now.items() for _, segment_id in segments}
            self._begun = {each: run_id for each, run_id in self._begun.items() if each in mapped}
            self._told = now
            batch.put(self._key, msgspec.msgpack.encode(now))
        dates = [ms for flow in flows for ids in flow.segments.values() for s in ids.values()
                 for ms in (s.start_ms, s.end_ms) if ms is not None and ms > now_ms]  # fmt: skip
        self._next_ms = min(dates, default=None)
        return ()

    def decided(self, answers: Sequence[tuple[str, ...]], decision: Decision, now_ms: int, batch: Batch) -> None:
        """See ``Inner``."""


def _active(flow: CompiledFlow, now_ms: int) -> list[tuple[str, str]]:
    return [(n, segment_id) for n, ids in flow.segments.items() for segment_id, s in ids.items() if s.active(now_ms)]
