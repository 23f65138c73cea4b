"""Flows that an operator, or a cap, has paused: on top of the configuration, and until they are resumed.

A paused flow sends nothing. With ``keep`` what changes meanwhile is exported and waits; with ``skip`` it makes no
exports, which are counted, and offered for a catch-up when the flow goes on: the present state of every profile that
changed meanwhile, which is a run like a backfill.

Holds always (tests/runtimes/test_pauses.py checks each by its number):
    Z1  A pause outlives the process and every change of the configuration; only a resumption ends it.
    Z2  After a pause that skipped and its catch-up, the last message about every profile is its current state.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from headrace.core import canonical
from headrace.core.flow import CompiledFlow, Snapshot
from headrace.errors import RefusedError
from headrace.state import records
from headrace.state.base import Batch, State
from headrace.state.keys import FACT, Keys

MODES: Final = ("keep", "skip")


class Pause(msgspec.Struct, omit_defaults=True):
    """Why and how a flow was paused apart from its configuration.

    Attributes:
        mode: keep or skip.
        since_ms: When, epoch milliseconds.
        reason: operator, or dead-letters.
    """

    mode: str
    since_ms: int
    reason: str = "operator"


class Skip(msgspec.Struct, omit_defaults=True):
    """Changes that a flow has skipped and not made up for.

    Attributes:
        first: Ordinal of the first input that it may have skipped.
        before: Changes that were skipped before.
        over: The flow goes on.
    """

    first: int
    before: int
    over: bool = False


class _Stored(msgspec.Struct, omit_defaults=True):
    pauses: dict[str, Pause] = {}
    skips: dict[str, Skip] = {}


_decode: Final = msgspec.msgpack.Decoder(_Stored).decode


class Pauses:
    """See the module.

    Args:
        state: Where they are kept.
        keys: Of the sandbox.
    """

    def __init__(self, state: State, keys: Keys) -> None:
        self._state = state
        self._key = keys.named(FACT, "pauses")
        stored = state.get_many([self._key])[0]
        self._stored = _decode(stored) if stored is not None else _Stored()

    @property
    def all(self) -> dict[str, Pause]:
        """Flow id to its pause."""
        return self._stored.pauses

    def pause(self, flow_id: str, mode: str, now_ms: int, reason: str = "operator") -> Pause:
        """Keep a pause; durable when this returns, and in force with the next ``applied``.

        Raises:
            RefusedError: There is no such mode.
        """
        if mode not in MODES:
            raise RefusedError(f"the mode {mode} is not allowed (allowed: {', '.join(MODES)})")
        made = self._stored.pauses[flow_id] = Pause(mode, now_ms, reason)
        self._commit()
        return made

    def resume(self, flow_id: str) -> None:
        """Forget a pause.

        Raises:
            RefusedError: The flow is not paused in this way.
        """
        if self._stored.pauses.pop(flow_id, None) is None:
            raise RefusedError(f"flow {flow_id} was not paused; one that its configuration disables is enabled there")
        self._commit()

    def made_up(self, flow_id: str) -> int:
        """The first ordinal that a catch-up of the flow must look at; what was skipped counts as offered no more.

        Raises:
            RefusedError: Nothing was skipped.
        """
        skip = self._stored.skips.get(flow_id)
        if skip is None:
            raise RefusedError(f"flow {flow_id} has skipped nothing that is not made up for")
        if skip.over:
            del self._stored.skips[flow_id]
            self._commit()
        return skip.first

    def _commit(self) -> None:
        batch = self._state.batch()
        self._put(batch)
        self._state.commit(batch)
        self._state.sync()

    def _put(self, batch: Batch) -> None:
        batch.put(self._key, msgspec.msgpack.encode(self._stored))

    def applied(self, configured: Snapshot) -> Snapshot:
        """The configuration with the pauses on top; itself where there is none."""
        if not any(flow.id in self._stored.pauses for flow in configured.flows):
            return configured
        return canonical.snapshot(
            [self._applied(flow) for flow in configured.flows], merge_by=configured.merge_by,
            max_identities=configured.max_identities, unstitchable=configured.unstitchable,
            lifetimes=configured.lifetimes,
        )  # fmt: skip

    def _applied(self, flow: CompiledFlow) -> CompiledFlow:
        pause = self._stored.pauses.get(flow.id)
        if pause is None:
            return flow
        return msgspec.structs.replace(flow, paused=True, pause_mode=pause.mode)

    def noted(self, in_force: Iterable[CompiledFlow], ordinal: int, totals: records.Totals) -> None:
        """Flows as they are from now on: remember since when those that skip do, and that others go on.

        Args:
            in_force: The flows.
            ordinal: Of the next input.
            totals: As of now.
        """
        skips = self._stored.skips
        before = msgspec.msgpack.encode(skips)
        for flow in in_force:
            skipping = flow.paused and flow.pause_mode == "skip"
            held = totals.flows.get(flow.id, records.FlowTotals()).held.get("paused", 0)
            skip = skips.get(flow.id)
            if skipping and skip is None:
                skips[flow.id] = Skip(ordinal, held)
            elif skip is not None and skip.over != (not skipping):
                skip.over = not skipping
                if skip.over and held == skip.before:
                    del skips[flow.id]
        if msgspec.msgpack.encode(skips) != before:
            self._commit()

    def told(self, flow_id: str, totals: records.Totals) -> dict[str, Any]:
        """Pause and skipped changes of a flow, for people."""
        pause, skip = self._stored.pauses.get(flow_id), self._stored.skips.get(flow_id)
        held = totals.flows.get(flow_id, records.FlowTotals()).held.get("paused", 0)
        return {
            "pause": msgspec.to_builtins(pause) if pause is not None else None,
            "skipped": held - skip.before if skip is not None else 0,
            "catch_up": skip is not None and skip.over,
        }
