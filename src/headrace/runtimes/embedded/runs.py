"""The records of runs over the profiles and their life: ordered, begun, paused, resumed, cancelled, listed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from headrace.core.flow import CompiledFlow, Snapshot
from headrace.core.step import CATCH_UP
from headrace.errors import RefusedError
from headrace.state.base import Batch, State
from headrace.state.keys import BACKFILL, Keys
from headrace.state.runs import CANCELLED, DONE, PAUSED, RUNNING, Run, encode, runs

_KEPT: Final = 200
"""Runs that have ended and are still shown."""
KINDS: Final = {"backfill": "backfill", "resend": "re-send", "re-send": "re-send", "catch-up": CATCH_UP}


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for.

    Attributes:
        flow: Flow id.
        kind: backfill, resend, or catch-up.
        segments: Audience ids; None for all that the flow maps.
        identities: As ``namespace:id``; None for everybody.
        qualified_after_ms: Only members who qualified then or later.
        qualified_before_ms: Only those who qualified before.
        changed_since: For a catch-up: only profiles that an input from this ordinal on has changed.
        rate: Most exports a second; None for the setting's.
    """

    flow: str
    kind: str = "backfill"
    segments: Sequence[str] | None = None
    identities: Sequence[str] | None = None
    qualified_after_ms: int | None = None
    qualified_before_ms: int | None = None
    changed_since: int = 0
    rate: float | None = None


class Runs:
    """See the module.

    Args:
        state: Where runs lie.
        keys: Of the sandbox.
        snapshot: Gives the configuration in force.
        profiles: Gives the number of profiles.
        ordinal: Gives the ordinal of the next input.
        now_ms: Gives the time.
        rate: Exports a second where an order says nothing; 0 for no limit.
        wake: Wakes the loop.

    Attributes:
        turn: Ids of the open runs, in the turn in which they get on.
    """

    def __init__(
        self, state: State, keys: Keys, *, snapshot: Callable[[], Snapshot], profiles: Callable[[], int],
        ordinal: Callable[[], int], now_ms: Callable[[], int], rate: float, wake: Callable[[], None],
    ) -> None:  # fmt: skip
        self._state, self._keys, self._snapshot = state, keys, snapshot
        self._profiles, self._ordinal, self._now_ms = profiles, ordinal, now_ms
        self._rate, self._wake = rate, wake
        self._runs = {run.id: run for run in runs(state, keys)}
        self.turn: deque[str] = deque(sorted(i for i, run in self._runs.items() if run.open))

    def __getitem__(self, run_id: str) -> Run:
        return self._runs[run_id]

    def start(self, order: Order) -> Run:
        """Begin a run; it is durable when this returns.

        A backfill that the audiences' change has begun already is not begun a second time.

        Raises:
            RefusedError: The order is wrong, with what is allowed.
        """
        flow = self._snapshot().by_id.get(order.flow)
        if flow is None:
            known = ", ".join(f.id for f in self._snapshot().flows) or "there is none"
            raise RefusedError(f"there is no flow {order.flow} (allowed: {known})")
        if order.kind not in KINDS:
            raise RefusedError(f"the kind {order.kind} is not allowed (allowed: backfill, resend)")
        if order.rate is not None and order.rate < 0:
            raise RefusedError(f"the rate {order.rate:g} is not allowed (allowed: 0 or more exports a second)")
        segments = _segments(flow, order.segments)
        identities = [_identity(text) for text in order.identities or ()]
        plain = order.qualified_after_ms is None and order.qualified_before_ms is None and not identities
        if plain and (begun := self._begun(flow, KINDS[order.kind], segments)) is not None:
            return begun
        batch = self._state.batch()
        run = self.begin(
            batch, flow.id, KINDS[order.kind], segments, identities=identities,
            qualified_after_ms=order.qualified_after_ms, qualified_before_ms=order.qualified_before_ms,
            changed_since=order.changed_since, rate=self._rate if order.rate is None else order.rate,
        )  # fmt: skip
        self._commit(batch)
        return run

    def _begun(self, flow: CompiledFlow, kind: str, segments: Sequence[tuple[str, str]]) -> Run | None:
        """The open run that the audiences' change has begun for these."""
        wanted = set(segments or _mapped(flow))
        for run in self._runs.values():
            automatic = run.automatic and run.open and (run.flow, run.kind) == (flow.id, kind)
            if automatic and wanted <= set(run.segments or _mapped(flow)):
                return run
        return None

    def begin(
        self, batch: Batch, flow_id: str, kind: str, segments: list[tuple[str, str]], **more: Any
    ) -> Run:  # fmt: skip
        """Put a new run into a batch."""
        number = 1 + max((int(i[1:]) for i in self._runs if i[1:].isdigit()), default=0)
        now_ms = self._now_ms()
        more.setdefault("rate", self._rate)
        run = Run(f"r{number}", flow_id, kind, self._ordinal(), now_ms, updated_ms=now_ms, segments=segments, **more)
        run.estimate = len(run.identities) or self._profiles()
        self._runs[run.id] = run
        self.turn.append(run.id)
        self._prune(batch)
        self.put(batch, run)
        return run

    def put(self, batch: Batch, run: Run) -> None:
        """Put a run as it is now into a batch."""
        batch.put(self._keys.named(BACKFILL, run.id), encode(run))

    def _prune(self, batch: Batch) -> None:
        ended = sorted((run.ended_ms, run.id) for run in self._runs.values() if not run.open)
        for _, run_id in ended[:-_KEPT]:
            del self._runs[run_id]
            batch.delete(self._keys.named(BACKFILL, run_id))

    def act(self, run_id: str, action: str) -> Run:
        """Pause, resume or cancel a run; durable when this returns.

        Raises:
            RefusedError: There is no such run, or it has ended.
        """
        run = self._runs.get(run_id)
        if run is None:
            raise RefusedError(f"there is no run {run_id}; see: headrace backfill status")
        if not run.open:
            raise RefusedError(f"run {run_id} is {run.state} already")
        if action == "cancel":
            self._end(run, CANCELLED)
        else:
            run.state = {"pause": PAUSED, "resume": RUNNING}[action]
        run.updated_ms = self._now_ms()
        batch = self._state.batch()
        self.put(batch, run)
        self._commit(batch)
        return run

    def done(self, run: Run) -> None:
        """It has looked at everybody; to be put into a batch."""
        self._end(run, DONE)

    def _end(self, run: Run, state: str) -> None:
        run.state, run.ended_ms = state, self._now_ms()
        self.turn.remove(run.id)

    def _commit(self, batch: Batch) -> None:
        self._state.commit(batch)
        self._state.sync()
        self._wake()

    def listed(self, *, run_id: str = "", flow_id: str = "") -> Iterator[Run]:
        """Runs, the latest first."""
        for run in sorted(self._runs.values(), key=lambda run: (run.started_ms, int(run.id[1:])), reverse=True):
            if (not run_id or run.id == run_id) and (not flow_id or run.flow == flow_id):
                yield run

    def covered(self, flow_id: str) -> set[tuple[str, str]]:
        """Audiences of whose members a backfill of the flow tells that was asked for and has not begun to look."""
        flow = self._snapshot().by_id.get(flow_id)
        if flow is None:
            return set()
        fresh = [run for run in self._runs.values() if run.flow == flow_id and run.open and not run.scanned]
        every = [run for run in fresh if run.whole and run.kind != CATCH_UP]
        return {segment for run in every for segment in run.segments or _mapped(flow)}


def _mapped(flow: CompiledFlow) -> list[tuple[str, str]]:
    return [(namespace, segment_id) for namespace, ids in flow.segments.items() for segment_id in ids]


def _segments(flow: CompiledFlow, wanted: Sequence[str] | None) -> list[tuple[str, str]]:
    """Audiences by id, or as ``namespace/id``."""
    mapped = _mapped(flow)
    found = []
    for text in wanted or ():
        matching = [(n, s) for n, s in mapped if text in (s, f"{n}/{s}")]
        if not matching:
            allowed = ", ".join(segment_id for _, segment_id in mapped)
            raise RefusedError(f"flow {flow.id} maps no audience {text} (allowed: {allowed})")
        found += matching
    return found


def _identity(text: str) -> tuple[str, str]:
    namespace, _, key = text.partition(":")
    if not namespace or not key:
        raise RefusedError(f"an identity is namespace:id, not {text}")
    return namespace.lower(), key


def shown(run: Run, waits: str) -> dict[str, Any]:
    """A run as it is answered: the shape of ``backfill-status``."""
    left = max(0, max(run.estimate, run.scanned) - run.scanned)
    eta_s = left * run.busy_ms / run.scanned / 1000 if run.state == RUNNING and not waits and run.scanned else None
    return {
        "run": run.id,
        "flow": run.flow,
        "kind": "resend" if run.kind == "re-send" else run.kind,
        "state": run.state,
        "waits": waits if run.state == RUNNING else "",
        "automatic": run.automatic,
        "segments": [segment_id for _, segment_id in run.segments],
        "scanned": run.scanned,
        "total_estimate": max(run.estimate, run.scanned),
        "exported": run.exported,
        "excluded": run.excluded,
        "rate": run.rate,
        "started_ms": run.started_ms,
        "updated_ms": run.updated_ms,
        "ended_ms": run.ended_ms or None,
        "eta_s": None if eta_s is None else round(eta_s, 1),
    }
