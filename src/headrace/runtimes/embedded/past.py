"""What the journal tells of one profile: the inputs about it, and what it was before and after each.

Only the inputs about the profile are folded, from the nearest place where it was journaled whole ("base"): where it
was made, where it joined others, where it was changed again after long, and every so many versions.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from headrace.core.canonical import compile_canonical
from headrace.core.envelope import Envelope, decode
from headrace.core.flow import Snapshot
from headrace.core.model import Backfill, Delete, Identity, Replay, Tick, Unlink
from headrace.core.step import Input, Step, step
from headrace.core.update import parse_update
from headrace.runtimes.embedded.overflow import with_overflowing
from headrace.state import records
from headrace.state.base import State
from headrace.state.keys import CONFIGURATION, JOURNAL, MOST, Keys
from headrace.state.pages import PROFILE_ID, Pages, Reader, id_mark
from headrace.state.rows import JournalRows

COMMANDS: Final = {
    records.TICK: Tick,
    records.BACKFILL: Backfill,
    records.DELETE: Delete,
    records.REPLAY: Replay,
    records.UNLINK: Unlink,
}
_MOST_FOLDED: Final = 20_000
"""Inputs that do not change a profile make no bases, so their number has no bound of its own."""


class Line(NamedTuple):
    """One journaled input: the block, and the input's place in it."""

    block: JournalRows
    place: int

    @property
    def ordinal(self) -> int:
        """Its ordinal."""
        return self.block.first + self.place

    @property
    def kind(self) -> int:
        """Its kind, of ``records``."""
        return self.block.kinds[self.place]

    @property
    def body(self) -> bytes:
        """The raw update, or the encoded command."""
        return self.block.bodies[self.place]

    @property
    def profile_id(self) -> str:
        """The profile it is about; "" when none is known."""
        return records.unpack_id(self.block.profiles, self.place)

    @property
    def absorbed(self) -> list[str]:
        """Ids of the profiles that it joined into that one."""
        return self.block.absorbed.get(self.place, [])

    @property
    def held(self) -> tuple[str, ...]:
        """What was decided, flow by flow: the reason why nothing was exported, or ""."""
        return self.block.held(self.place)

    @property
    def source(self) -> str:
        """Id of its source; "" for a command."""
        number = self.block.sources[self.place]
        return self.block.names[number] if number < len(self.block.names) else ""


class Moment(NamedTuple):
    """A profile around one input.

    Attributes:
        before: As it was, None when the input made it.
        absorbed: Those that it joined, as they were.
        after: As it is afterwards, None when it was forgotten.
        change: The input.
        done: What folding it came to; None for an input that changed nothing and was not folded.
    """

    before: Envelope | None
    absorbed: list[Envelope]
    after: Envelope | None
    change: Input
    done: Step | None


@functools.lru_cache(maxsize=4)
def _compiled(content: bytes) -> Snapshot:
    """A configuration of its canonical text: with a hundred flows most of what a short question would cost."""
    return compile_canonical(content)


class Past:
    """Reads the journal of a sandbox.

    Args:
        state: Where it lies.
        keys: Of the sandbox.
    """

    def __init__(self, state: State, keys: Keys) -> None:
        self._state, self._keys = state, keys
        self._pages = Pages(state, keys, JOURNAL)
        self.reader = Reader(state, keys, JOURNAL)
        self._snapshots: dict[str, Snapshot] = {}

    def snapshot(self, version: str) -> Snapshot:
        """A configuration that was in force."""
        found = self._snapshots.get(version)
        if found is None:
            stored = self._state.get_many([self._keys.named(CONFIGURATION, version)])[0]
            found = self._snapshots[version] = _compiled(stored or b"")
        return found

    def begins(self) -> Line | None:
        """The oldest input that is kept; None when none is."""
        for first, stored in self.reader.stored(0, MOST):
            return Line(self.reader.journal(first, stored), 0)
        return None

    def line(self, ordinal: int) -> Line | None:
        """One input; None when it is no longer kept, or has not come in."""
        found = self.reader.find(ordinal)
        if found is None:
            return None
        return Line(self.reader.journal(*found), ordinal - found[0])

    def about(self, profile_id: str, *, first: int = 0, last: int = MOST, back: bool = False) -> Iterator[Line]:
        """The inputs about a profile, under this id, of [first, last]; with *back* the last first."""
        tail = self._pages.tail()
        if back:
            yield from self._behind(profile_id, max(tail, first), last, back=True)
        for ordinal in self._pages.candidates(PROFILE_ID, id_mark(profile_id), first=first, last=last, back=back):
            line = self.line(ordinal)
            if line is not None and line.profile_id == profile_id:
                yield line
        if not back:
            yield from self._behind(profile_id, max(tail, first), last, back=False)

    def _behind(self, profile_id: str, first: int, last: int, *, back: bool) -> Iterator[Line]:
        """The same, of blocks that no page covers yet."""
        packed = records.pack_ids([profile_id])
        holding = self.reader.find(first)
        begun = [holding] if holding is not None and holding[0] < first else []
        whole = self.reader.stored(first, last, back=back)
        for begin, stored in itertools.chain(whole, begun) if back else itertools.chain(begun, whole):
            yield from self._in_block(begin, stored, packed, first, last, back=back)

    def _in_block(
        self, begin: int, stored: bytes, packed: bytes, first: int, last: int, *, back: bool
    ) -> Iterator[Line]:
        block = self.reader.journal(begin, stored)
        if packed not in block.profiles:
            return
        width = records.ID_BYTES
        found = [i for i in range(block.rows) if block.profiles[i * width : (i + 1) * width] == packed]
        for index in reversed(found) if back else found:
            if first <= begin + index <= last:
                yield Line(block, index)

    # -- folding ----------------------------------------------------------------------------------

    def moment(self, line: Line) -> Moment | None:
        """The profile around an input; None when the journal does not reach back to a base."""
        if not line.profile_id:
            return None
        folded: list[Line] = []
        for past in self.about(line.profile_id, last=line.ordinal, back=True):
            folded.append(past)
            if past.place in past.block.bases:
                return self._fold(folded)
            if len(folded) >= _MOST_FOLDED:
                break
        return self._unchanged(line)

    def _fold(self, lines: list[Line]) -> Moment:
        """Fold inputs, the last first in the list, from the base of the first one."""
        start = lines[-1]
        kept = [decode(stored) for stored in start.block.bases[start.place]]
        now, absorbed = (kept[0] if kept else None), kept[1:]
        moment: Moment | None = None
        for line in reversed(lines):
            snapshot = with_overflowing(self.snapshot(line.block.config), frozenset(line.block.overflowing))
            change, identities = self._input(line, snapshot)
            done = None
            after = now
            if line.kind != records.REPEAT:
                done = step(
                    now, absorbed, change, identities, line.profile_id, line.ordinal, line.block.now_ms, snapshot
                )  # fmt: skip
                after = done.envelope
            moment = Moment(now, absorbed, after, change, done)
            now, absorbed = after, []
        assert moment is not None
        return moment

    def _input(self, line: Line, snapshot: Snapshot) -> tuple[Input, list[Identity]]:
        """An input, and those of its identities that belong to its profile."""
        if line.kind in COMMANDS:
            command: Input = msgspec.msgpack.decode(line.body, type=COMMANDS[line.kind])
            return command, []
        update = parse_update(line.body, stamped=snapshot.merge_by == "timestamp")
        chosen = line.block.links.get(line.place)
        return update, list(update.identities) if chosen is None else [update.identities[i] for i in chosen]

    def _unchanged(self, line: Line) -> Moment | None:
        """An input that changed nothing, in the light of what came later: the profile was then what it was still."""
        envelope: Envelope | None = None
        for later in self.about(line.profile_id, first=line.ordinal + 1):
            if later.place in later.block.bases:
                base = later.block.bases[later.place]
                envelope = decode(base[0]) if base else None
                break
        else:
            stored = self._state.get_many([self._keys.profile(line.profile_id)])[0]
            envelope = decode(stored) if stored else None
        if envelope is None or envelope.ordinal >= line.ordinal:
            return None
        change, _ = self._input(line, self.snapshot(line.block.config))
        return Moment(envelope, [], envelope, change, None)
