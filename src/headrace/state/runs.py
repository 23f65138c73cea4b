"""Records of runs over the profiles: backfills, re-sends, catch-ups. Field names are the format: append only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from headrace.state.base import State
from headrace.state.keys import BACKFILL, Keys

RUNNING: Final = "running"
PAUSED: Final = "paused"
DONE: Final = "done"
CANCELLED: Final = "cancelled"


class Run(msgspec.Struct, omit_defaults=True):
    """A run over profiles for one flow, and how far it is.

    Attributes:
        id: Its id; part of the ids of its exports.
        flow: Flow id.
        kind: backfill, re-send, or catch-up (what changed while the flow skipped).
        first: Ordinal of the first input after its start: who was told since then need not be told.
        started_ms: When, epoch milliseconds.
        state: running, paused, done or cancelled.
        automatic: Started because the flow's audiences changed, or a start date came.
        segments: (namespace, audience id) of whose members it is about; empty for all that the flow maps.
        identities: (namespace, id) of whom it is about; empty for everybody.
        qualified_after_ms: Only members who qualified then or later; None without the limit.
        qualified_before_ms: Only those who qualified before; likewise.
        changed_since: For a catch-up: only profiles that an input from this ordinal on has changed.
        rate: Most exports a second; 0 for as fast as the stream takes them.
        after: Where it is: the profile id (or with identities the number of them) that was looked at last.
        scanned: Profiles looked at.
        estimate: Profiles there are, about.
        exported: Exports made.
        excluded: Profiles without an export, by reason.
        updated_ms: When it got on last.
        ended_ms: When it was done or cancelled; 0 before.
        busy_ms: How long it has been running, pauses and stops apart.
    """

    id: str
    flow: str
    kind: str
    first: int
    started_ms: int
    state: str = RUNNING
    automatic: bool = False
    segments: list[tuple[str, str]] = []
    identities: list[tuple[str, str]] = []
    qualified_after_ms: int | None = None
    qualified_before_ms: int | None = None
    changed_since: int = 0
    rate: float = 0.0
    after: str = ""
    scanned: int = 0
    estimate: int = 0
    exported: int = 0
    excluded: dict[str, int] = {}
    updated_ms: int = 0
    ended_ms: int = 0
    busy_ms: int = 0

    @property
    def open(self) -> bool:
        """True while it may get further."""
        return self.state in (RUNNING, PAUSED)

    @property
    def whole(self) -> bool:
        """True when it is about all members of its audiences."""
        return not self.identities and self.qualified_after_ms is None and self.qualified_before_ms is None


encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Run).decode


def runs(state: State, keys: Keys) -> Iterator[Run]:
    """All that are stored."""
    for _, value in state.scan(*keys.space(BACKFILL)):
        yield _decode(value)
