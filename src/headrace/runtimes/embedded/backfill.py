"""Runs over the profiles: export those who qualified before, or send members again.

A run walks over the profiles by key, some at a time, beside the live traffic. It looks at the stored bytes, and gives
an input for each profile that is to be exported: what is exported is the profile as the loop then knows it, so never
an older state after a newer one. How far it is, is stored in the commit of its inputs.

Holds always (tests/runtimes/test_backfill.py checks each by its number):
    B1  Every profile that is a member when a run starts, and still is when it is looked at, is exported by the run,
        or was told of by an export made since the start.
    B2  A kill at any instruction neither skips a profile nor exports one twice.
    B3  A run gives no inputs while its flow is paused, holds back, or has a backlog already.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from headrace.core.cause import active, consents
from headrace.core.envelope import decode
from headrace.core.flow import CompiledFlow, Snapshot
from headrace.core.glance import Glance, glance
from headrace.core.model import Backfill, FlowMark
from headrace.core.step import CATCH_UP
from headrace.core.times import from_ms
from headrace.errors import RefusedError
from headrace.runtimes.embedded.decision import Command, Decision
from headrace.runtimes.embedded.flow import RunningFlow
from headrace.state import records
from headrace.state.base import Batch, State
from headrace.state.keys import BACKFILL, PROFILE, Keys
from headrace.state.runs import CANCELLED, DONE, PAUSED, RUNNING, Run, encode, runs

_LOOKED_AT_ONCE: Final = 2000
"""Profiles that a round looks at: about 20 ms."""
_BACKLOG_BYTES: Final = 8 << 20
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


class Scope:
    """Whom a run is about, as of one moment."""

    def __init__(self, run: Run, flow: CompiledFlow, now_ms: int) -> None:
        mapped = active(flow, now_ms)
        wanted = run.segments or [(n, s) for n, ids in mapped.items() for s in ids]
        self._segments = {n: {s for m, s in wanted if m == n and s in mapped.get(n, ())} for n, _ in wanted}
        self._needles = [s.encode() for ids in self._segments.values() for s in ids]
        after, before = run.qualified_after_ms, run.qualified_before_ms
        self._after = from_ms(after) if after is not None else ""
        self._before = from_ms(before) if before is not None else "~"
        self._run, self._flow = run, flow
        self.unless_since = run.first if run.kind == "backfill" and flow.deliver == "all" else 0
        """Whoever was told of at this ordinal or later is left out; 0 for nobody."""

    def why_not(self, stored: bytes) -> str:
        """Why a profile is not exported; "" when it may be."""
        run = self._run
        if run.kind != CATCH_UP:
            for needle in self._needles:
                if needle in stored:
                    break
            else:
                return "not-a-member"
        seen = glance(stored)
        mark = seen.marks.get(self._flow.id)
        if run.kind == CATCH_UP:
            if seen.ordinal < run.changed_since:
                return "unchanged"
            if mark is None:
                return self._out(seen)
            return "told-since" if mark.ordinal >= seen.ordinal or self._withdrawn(mark, stored) else ""
        why = self._out(seen)
        if not why and self.unless_since and mark is not None and mark.ordinal >= self.unless_since:
            return "told-since"
        return why

    def _withdrawn(self, mark: FlowMark, stored: bytes) -> bool:
        """Told meanwhile that the consent is gone: the only thing that a flow exports although it skips."""
        if self._flow.consent is None or mark.ordinal < self._run.changed_since:
            return False
        return not consents(self._flow, decode(stored).attributes)

    def _out(self, seen: Glance) -> str:
        why = "not-a-member"
        for namespace, segments in self._segments.items():
            had = seen.memberships.get(namespace)
            if had is None:
                continue
            for segment_id in segments:
                m = had.get(segment_id)
                if m is not None and m.member:
                    if self._after <= m.since < self._before:
                        return ""
                    why = "qualified-at-another-time"
        return why


class _Taken(msgspec.Struct):
    run: Run
    commands: list[Command]


class Backfills:
    """An inner source; see the module and runtimes/embedded/inner.py.

    Args:
        state: Where runs and profiles lie.
        keys: Of the sandbox.
        snapshot: Gives the configuration in force.
        flows: The flows at work.
        holding: Ids of the flows that hold back, or make up for having done so.
        profiles: Gives the number of profiles.
        ordinal: Gives the ordinal of the next input.
        now_ms: Gives the time.
        rate: Exports a second where a run says nothing; 0 for no limit.
        wake: Wakes the loop.
    """

    def __init__(
        self, state: State, keys: Keys, *, snapshot: Callable[[], Snapshot], flows: Mapping[str, RunningFlow],
        holding: Callable[[str], bool], profiles: Callable[[], int], ordinal: Callable[[], int],
        now_ms: Callable[[], int], rate: float, wake: Callable[[], None],
    ) -> None:  # fmt: skip
        self._state, self._keys = state, keys
        self._snapshot, self._flows, self._holding = snapshot, flows, holding
        self._profiles, self._ordinal, self._now_ms = profiles, ordinal, now_ms
        self._rate, self._wake = rate, wake
        self._runs = {run.id: run for run in runs(state, keys)}
        self._turn: deque[str] = deque(sorted(i for i, run in self._runs.items() if run.open))
        self._tokens: dict[str, tuple[float, int]] = {}
        """Run id to the exports it may make, and when that was reckoned."""
        self._seen_ms: dict[str, int] = {}
        """Run id to when it got on last, in this process."""
        self._taken: list[_Taken] = []

    # -- asked for --------------------------------------------------------------------------------

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
        self._turn.append(run.id)
        self._prune(batch)
        batch.put(self._keys.named(BACKFILL, run.id), encode(run))
        return run

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
        run.state = {"pause": PAUSED, "resume": RUNNING, "cancel": CANCELLED}[action]
        run.updated_ms = self._now_ms()
        self._seen_ms.pop(run_id, None)
        if not run.open:
            self._end(run)
        batch = self._state.batch()
        batch.put(self._keys.named(BACKFILL, run.id), encode(run))
        self._commit(batch)
        return run

    def _commit(self, batch: Batch) -> None:
        self._state.commit(batch)
        self._state.sync()
        self._wake()

    def runs(self, *, run_id: str = "", flow_id: str = "") -> Iterator[Run]:
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
        return any(
            run.state == RUNNING and (flow := self._flows.get(run.flow)) is not None and not flow.stuck
            for run in self._runs.values()
        )

    # -- given to the loop ------------------------------------------------------------------------

    def due_ms(self, now_ms: int) -> int | None:
        """See ``Inner``."""
        soonest: int | None = None
        for run_id in self._turn:
            run = self._runs[run_id]
            if run.state != RUNNING or self.waits(run):
                continue
            at_ms = self._allowed_ms(run, now_ms)
            soonest = at_ms if soonest is None else min(soonest, at_ms)
        return soonest

    def _allowed_ms(self, run: Run, now_ms: int) -> int:
        """When the run's rate allows an export."""
        tokens = self._refilled(run, now_ms)
        return now_ms if tokens >= 1 else now_ms + 1 + int((1 - tokens) * 1000 / run.rate)

    def _refilled(self, run: Run, now_ms: int) -> float:
        if not run.rate:
            return float(_LOOKED_AT_ONCE)
        tokens, at_ms = self._tokens.get(run.id, (1.0, now_ms))
        tokens = min(tokens + max(0, now_ms - at_ms) * run.rate / 1000, max(1.0, run.rate))
        self._tokens[run.id] = (tokens, now_ms)
        return tokens

    def take(self, most: int, now_ms: int, batch: Batch) -> Sequence[Command]:
        """See ``Inner``: the next profiles of the runs, in turn."""
        self._taken = []
        looked = _LOOKED_AT_ONCE
        for run_id in list(self._turn):
            run = self._runs[run_id]
            if run.state != RUNNING or self.waits(run):
                continue
            room = min(most, int(self._refilled(run, now_ms)))
            if room <= 0:
                continue
            before = run.scanned
            commands = self._walk(run, room, looked, now_ms)
            looked -= run.scanned - before
            most -= len(commands)
            self._taken.append(_Taken(run, commands))
            self._turn.rotate(-1)
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
        for place, key, stored in self._ahead(run):
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
            self._end(run)
            run.state, run.ended_ms = DONE, now_ms
        run.scanned += scanned
        run.excluded = {w: run.excluded.get(w, 0) + excluded.get(w, 0) for w in run.excluded | excluded}
        if run.rate:
            tokens, at_ms = self._tokens[run.id]
            self._tokens[run.id] = (tokens - len(commands), at_ms)
        run.busy_ms += max(0, now_ms - self._seen_ms.get(run.id, now_ms))
        self._seen_ms[run.id] = run.updated_ms = now_ms
        return commands

    def _ahead(self, run: Run) -> Iterator[tuple[str, bytes, bytes | None]]:
        """What the run has not looked at: (its place, key, bytes) of each profile."""
        if not run.identities:
            start, end = self._keys.space(PROFILE)
            if run.after:
                start = self._keys.profile(run.after) + b"\0"
            for key, value in self._state.scan(start, end):
                yield "", key, value
            return
        seen: set[str] = set()
        for number in range(int(run.after or 0), len(run.identities)):
            row = self._state.get_many([self._keys.identity(*run.identities[number])])[0]
            profile_id = records.decode_index_row(row).profile_id if row is not None else ""
            key = self._keys.profile(profile_id)
            stored = self._state.get_many([key])[0] if profile_id and profile_id not in seen else None
            seen.add(profile_id)
            yield str(number + 1), key, stored

    def _end(self, run: Run) -> None:
        run.ended_ms = self._now_ms()
        if run.id in self._turn:
            self._turn.remove(run.id)
        self._tokens.pop(run.id, None)

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
            batch.put(self._keys.named(BACKFILL, run.id), encode(run))
        self._taken = []


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
