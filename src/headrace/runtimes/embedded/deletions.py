"""Deleting a person: the profile, what waits about it, and everything that is kept of it; tracked to its end.

A deletion is a record with five states. *deleting*: the input that forgets the profile is given to the loop, and its
exports are noted in the same commit. *settling*: until nothing from before waits in any flow's outbox, the flows'
last messages among it. *erasing*: journal, ledger, dead letters, timers and runs are rewritten without the person,
some at a time. *compacting*: the folder forgets what was overwritten. *done*: the record names nobody any more.

Holds always (tests/runtimes/test_deletions.py checks each by its number):
    L1  A deletion that was answered is carried out, whatever is killed when; its input is given once.
    L2  When it is done, no key space holds an identity or the id of the profile in a row from before it, nor does
        any file of the folder, as it lies on disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from headrace.core.envelope import decode
from headrace.core.flow import Snapshot
from headrace.core.model import Delete, Identity
from headrace.errors import RefusedError
from headrace.runtimes.embedded.decision import Command, Decision
from headrace.runtimes.embedded.erasure import Deletion, Erasure
from headrace.runtimes.embedded.flow import RunningFlow
from headrace.state import records
from headrace.state.base import Batch, State
from headrace.state.keys import FACT, MOST, Keys
from headrace.state.pages import Roll

_LOOK_MS: Final = 500
_KEPT: Final = 100


_decode: Final = msgspec.msgpack.Decoder(dict[str, Deletion]).decode


def stored(state: State, keys: Keys) -> list[dict[str, Any]]:
    """The reports of a folder that nobody holds; for whom a deletion waits is not told."""
    found = state.get_many([keys.named(FACT, "deletions")])[0]
    return [_report(each, []) for each in (_decode(found).values() if found is not None else ())]


def _report(found: Deletion, waits: list[str]) -> dict[str, Any]:
    return {
        "run": found.id, "state": found.state, "exports": found.exports, "erased": found.erased,
        "waits_for": waits, "asked_ms": found.asked_ms, "done_ms": found.done_ms or None,
    }  # fmt: skip


class Deletions:
    """An inner source; see the module and runtimes/embedded/inner.py.

    Args:
        state: Where everything lies.
        keys: Of the sandbox.
        flows: The flows at work.
        snapshot: Gives the configuration in force.
        totals: Counted into.
        now_ms: Gives the time.
        wake: Wakes the loop.
    """

    def __init__(
        self, state: State, keys: Keys, *, flows: Mapping[str, RunningFlow], snapshot: Callable[[], Snapshot],
        totals: records.Totals, now_ms: Callable[[], int], wake: Callable[[], None],
    ) -> None:  # fmt: skip
        self._state, self._keys, self._flows, self._snapshot = state, keys, flows, snapshot
        self._now_ms, self._wake = now_ms, wake
        self._erasure = Erasure(state, keys, flows, totals)
        self._key = keys.named(FACT, "deletions")
        stored = state.get_many([self._key])[0]
        self._all = _decode(stored) if stored is not None else {}
        self._given: Deletion | None = None
        self._looked_ms = 0
        self._compacting: asyncio.Future[Any] | None = None

    def write_on(self, rolls: Mapping[bytes, Roll]) -> None:
        """Those of journal and ledger, by space: their pages that are open name nobody who is erased, either."""
        self._erasure.rolls = rolls

    # -- asked for --------------------------------------------------------------------------------

    def start(self, namespace: str, identity: str) -> Deletion:
        """Begin to delete the profile of an identity; durable when this returns.

        Raises:
            RefusedError: No profile has it.
        """
        profile = self.profile_of(namespace, identity)
        for known in self._all.values():
            if known.state == "deleting" and profile[0] == known.profile_id:
                return known
        number = 1 + max((int(i[1:]) for i in self._all), default=0)
        profile_id, identities, epoch = profile
        made = Deletion(
            f"d{number}", "deleting", self._now_ms(), profile_id, [(profile_id, epoch, MOST - 1)], identities
        )
        self._all[made.id] = made
        for old in sorted((d.done_ms, d.id) for d in self._all.values() if d.done_ms)[:-_KEPT]:
            del self._all[old[1]]
        batch = self._state.batch()
        self._put(batch)
        self._state.commit(batch)
        self._state.sync()
        self._wake()
        return made

    def profile_of(self, namespace: str, identity: str) -> tuple[str, list[tuple[str, str]], int]:
        """(Profile id, identities, epoch) of whoever has an identity.

        Raises:
            RefusedError: Nobody has.
        """
        row = self._state.get_many([self._keys.identity(*Identity(namespace.lower(), identity))])[0]
        profile_id = records.decode_index_row(row).profile_id if row is not None else ""
        stored = self._state.get_many([self._keys.profile(profile_id)])[0] if profile_id else None
        if stored is None:
            raise RefusedError("no profile has this identity")
        profile = decode(stored)
        return profile_id, [(n, i) for n, ids in profile.identities.items() for i in ids], profile.epoch

    def told(self, deletion_id: str) -> dict[str, Any]:
        """How a deletion stands: its report.

        Raises:
            RefusedError: There is no such deletion.
        """
        found = self._all.get(deletion_id)
        if found is None:
            raise RefusedError(f"there is no deletion {deletion_id} (known: {', '.join(self._all) or 'none'})")
        return _report(found, sorted(self._waiting(found)) if found.state == "settling" else [])

    @property
    def all(self) -> list[str]:
        """Ids of the deletions that are remembered."""
        return list(self._all)

    def busy(self) -> bool:
        """True when a deletion will get on by itself."""
        return any(
            one.state != "done" and not (one.state == "settling" and self._stuck(self._waiting(one)))
            for one in self._all.values()
        )

    def _stuck(self, flow_ids: set[str]) -> bool:
        return any(self._flows[flow_id].stuck for flow_id in flow_ids)

    # -- given to the loop ------------------------------------------------------------------------

    def due_ms(self, now_ms: int) -> int | None:
        """See ``Inner``."""
        soonest: int | None = None
        for one in self._all.values():
            if one.state in ("deleting", "erasing"):
                return now_ms
            if one.state == "settling" or (one.state == "compacting" and self._compacting is None):
                soonest = max(now_ms, self._looked_ms + _LOOK_MS) if self._looked_ms else now_ms
        return soonest

    def take(self, most: int, now_ms: int, batch: Batch) -> Sequence[Command]:
        """See ``Inner``: the next step of each deletion."""
        self._given = None
        self._looked_ms = now_ms
        changed = False
        commands: list[Command] = []
        for one in self._all.values():
            if one.state == "deleting" and self._given is None:
                self._given = one
                commands.append(Delete(one.profile_id))
            elif one.state == "settling" and not self._waiting(one):
                one.state, changed = "erasing", True
            elif one.state == "erasing":
                changed = True
                if self._erasure.some(one, batch):
                    one.state = "compacting"
            elif one.state == "compacting" and self._compacting is None:
                self._compact()
        if changed:
            self._put(batch)
        return commands

    def _waiting(self, one: Deletion) -> set[str]:
        """Flows in whose outbox something from before the deletion, or its own message, waits."""
        waiting = set()
        for flow_id, flow in self._flows.items():
            lowest = flow.outbox.lowest()
            if flow.outbox.dirty or (lowest is not None and lowest <= one.ordinal):
                waiting.add(flow_id)
        return waiting

    def decided(self, answers: Sequence[tuple[str, ...]], decision: Decision, now_ms: int, batch: Batch) -> None:
        """See ``Inner``: the profile is forgotten in this commit."""
        one = self._given
        if one is None:
            return
        self._given = None
        one.state, one.ordinal = "settling", decision.last
        for flow, exports in zip(self._snapshot().flows, decision.exports, strict=True):
            for export in exports:
                if export.lane == one.profile_id and export.cause.kind == "delete":
                    one.exports[flow.id], one.ordinal = export.export_id, max(one.ordinal, export.ordinal)
        one.spans = [(profile_id, first, one.ordinal) for profile_id, first, _ in one.spans]
        self._put(batch)

    def _put(self, batch: Batch) -> None:
        batch.put(self._key, msgspec.msgpack.encode(self._all))

    def _compact(self) -> None:
        """Let the state forget what was overwritten, beside the loop."""
        loop = asyncio.get_running_loop()
        compacting = self._compacting = loop.run_in_executor(None, self._state.compact)

        def compacted(done: asyncio.Future[None]) -> None:
            self._compacting = None
            self._wake()
            if done.cancelled() or done.exception() is not None:
                return  # it is tried again
            for one in self._all.values():
                if one.state == "compacting":
                    one.state, one.done_ms = "done", self._now_ms()
            batch = self._state.batch()
            self._put(batch)
            self._state.commit(batch)

        compacting.add_done_callback(compacted)
