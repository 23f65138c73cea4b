"""Exports that must not be sent any more although they wait: the consent is gone, or the profile.

The outbox is not searched for them. That a flow is to give them up is stored in the commit of the input that says so,
and holds until everything that was in the outbox then has left it.

Holds always (tests/runtimes/test_discards.py checks each by its number):
    R1  Of what waits about a profile when its consent is withdrawn or it is deleted, nothing is written from then on
        but what is under way already; it is counted as discarded, with the reason.
    R2  A mark outlives the process, and goes once nothing lies before its ordinal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from headrace.runtimes.embedded.counts import Counts
from headrace.runtimes.embedded.flow import RunningFlow
from headrace.state.base import Batch, State
from headrace.state.keys import DISCARD, HEADS, OUTBOX, SETTLED, STALE, Keys

decode_mark: Final = msgspec.msgpack.Decoder(tuple[int, str]).decode
"""(Ordinal, reason) of a mark: what lies before the ordinal is not sent."""


class Discards:
    """See the module.

    Args:
        state: Where marks lie.
        keys: Of the sandbox.
        flows: The flows at work.
    """

    def __init__(self, state: State, keys: Keys, flows: Mapping[str, RunningFlow]) -> None:
        self._state, self._keys, self._flows = state, keys, flows

    def open(self, flow: RunningFlow) -> None:
        """A flow begins: what it must not send."""
        start = self._keys.discard(flow.compiled.id, "")
        for key, value in self._state.scan(start, start + b"\xff"):
            flow.dispatcher.discarding[key[len(start) :].decode()] = decode_mark(value)

    def committed(self, discards: Sequence[tuple[str, str, int, str]]) -> None:
        """These are stored from now on: (flow id, profile id, ordinal, reason)."""
        for flow_id, profile_id, ordinal, reason in discards:
            flow = self._flows.get(flow_id)
            if flow is not None:
                flow.dispatcher.discarding[profile_id] = (ordinal, reason)

    def flow_deleted(self, flow_id: str, counts: Counts) -> int:
        """Discard what waits of a flow that is no part of the configuration any more; how many exports."""
        counted = counts.totals.flows.get(flow_id)
        if flow_id in self._flows or counted is None:
            return 0
        pending = counted.pending
        write = self._state.batch()
        for space in (OUTBOX, SETTLED, STALE, DISCARD):
            start = self._keys.named(space, flow_id) + b"\0"
            write.delete_range(start, start[:-1] + b"\1")
        write.delete(self._keys.named(HEADS, flow_id))
        if pending:
            counted.discarded["flow-deleted"] = counted.discarded.get("flow-deleted", 0) + pending
        counts.put(write)
        self._state.commit(write)
        return pending

    def sweep(self, batch: Batch) -> None:
        """Forget what every export that it was about has left behind; not while any of it is under way."""
        for flow_id, flow in self._flows.items():
            discarding = flow.dispatcher.discarding
            if not discarding:
                continue
            lowest = flow.outbox.lowest()
            for profile_id, (ordinal, _) in list(discarding.items()):
                if lowest is None or ordinal <= lowest:
                    del discarding[profile_id]
                    batch.delete(self._keys.discard(flow_id, profile_id))
