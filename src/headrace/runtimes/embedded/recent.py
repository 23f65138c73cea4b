"""The last inputs of the journal, and the profiles as they were before them: what a preview folds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from headrace.core.envelope import Envelope, decode
from headrace.core.model import Identity
from headrace.core.update import parse_update
from headrace.errors import UpdateRefusedError
from headrace.runtimes.embedded.above import Above, stored_profiles
from headrace.runtimes.embedded.past import COMMANDS, Line, Past
from headrace.runtimes.embedded.preview import Inputs
from headrace.sources.base import Batch as SourceBatch
from headrace.state import records
from headrace.state.base import State
from headrace.state.keys import MOST, Keys

_KINDS: Final = frozenset(COMMANDS) - {records.BACKFILL, records.REPLAY}
_SWEPT: Final = 200
"""Blocks that are gone back over for all profiles; what began earlier is looked for by profile."""


class Recent:
    """The last inputs of the journal, and the profiles as they were before them.

    Args:
        state: Where the journal lies.
        keys: Of the sandbox.
        most: How many inputs.

    Attributes:
        base: A state with those profiles.
        untold: Inputs left out: erased, or the journal does not tell what their profile was before.
        config: Version of the configuration of the last one; "" without any.
    """

    def __init__(self, state: State, keys: Keys, most: int) -> None:
        self._state, self._keys = state, keys
        self._past = Past(state, keys)
        self.base = Above(None)
        self.untold = 0
        self.config = ""
        self._last = 0
        self._first = self._beginning(most)
        self._known: dict[str, Envelope | None] = {}
        self._unknown: set[str] = set()
        self._look()

    def _beginning(self, most: int) -> int:
        """Ordinal of the first input; the block of the last one tells how many there are."""
        for first, stored in self._past.reader.stored(0, MOST, back=True):
            block = self._past.reader.journal(first, stored)
            self.config = block.config
            self._last = block.first + block.rows - 1
            return max(1, self._last + 1 - most)
        return 1

    def _lines(self) -> Iterator[list[Line]]:
        """Inputs of each block, from the first one on."""
        begin = self._past.reader.find(self._first)
        start = begin[0] if begin is not None else self._first
        for first, stored in self._past.reader.stored(start, self._last):
            block = self._past.reader.journal(first, stored)
            lines = [Line(block, place) for place in range(block.rows)]
            yield [line for line in lines if line.ordinal >= self._first]

    def _look(self) -> None:
        """Find out what every profile of these inputs was before the first of them."""
        named: dict[Identity, None] = {}
        open_ends: dict[str, list[Line]] = {}
        for lines in self._lines():
            for line in lines:
                self._begun(line, open_ends)
                if line.kind == records.UPDATE:
                    named.update(dict.fromkeys(_identities(line.body)))
        self._sweep(open_ends)
        for profile_id, (line, *_) in open_ends.items():
            moment = self._past.moment(line)
            self._known[profile_id] = moment.before if moment is not None else None
            if moment is None:
                self._unknown.add(profile_id)
        kept = [envelope for envelope in self._known.values() if envelope is not None]
        self._know_others(list(named))
        stored_profiles(self.base, self._keys, [*kept, *self._others])

    def _begun(self, line: Line, open_ends: dict[str, list[Line]]) -> None:
        """Note what an input tells of profiles that no input before it has told of."""
        base = line.block.bases.get(line.place)
        if line.profile_id and line.profile_id not in self._known and line.profile_id not in open_ends:
            if base is None:
                open_ends[line.profile_id] = [line]
            else:
                self._known[line.profile_id] = decode(base[0]) if base else None
        for number, absorbed in enumerate(line.absorbed, 1):
            if absorbed not in self._known and absorbed not in open_ends and base is not None:
                self._known[absorbed] = decode(base[number])

    def _sweep(self, open_ends: dict[str, list[Line]]) -> None:
        """Go back block by block, once for all profiles, as long as that finds what they began with."""
        reader, width = self._past.reader, records.ID_BYTES
        for opened, (first, stored) in enumerate(reader.stored(0, self._first, back=True)):
            if not open_ends or opened >= _SWEPT:
                return
            block = reader.journal(first, stored)
            for place in reversed(range(min(block.rows, self._first - first))):
                packed = block.profiles[place * width : (place + 1) * width]
                lines = open_ends.get(packed.hex())
                if lines is None:
                    continue
                lines.append(Line(block, place))
                if place in block.bases:
                    profile_id = lines[0].profile_id
                    self._known[profile_id] = self._past._fold(lines).before
                    del open_ends[profile_id]

    def _know_others(self, named: Sequence[Identity]) -> None:
        """Profiles that inputs name and that none changed: they are what they were."""
        rows = self._state.get_many([self._keys.identity(*identity) for identity in named])
        ids = {records.decode_index_row(row).profile_id for row in rows if row is not None} - self._known.keys()
        found = self._state.get_many([self._keys.profile(profile_id) for profile_id in ids])
        self._others = [decode(each) for each in found if each is not None]

    def inputs(self) -> Iterator[Inputs]:
        """The inputs, a block at a time; those of which nothing is known are counted and left out."""
        for lines in self._lines():
            known = [line for line in lines if line.kind != records.ERASED and line.profile_id not in self._unknown]
            self.untold += len(lines) - len(known)
            updates = [line for line in known if line.kind in (records.UPDATE, records.REPEAT)]
            commands = [
                msgspec.msgpack.decode(line.body, type=COMMANDS[line.kind]) for line in known if line.kind in _KINDS
            ]
            if not updates and not commands:
                continue
            batch = SourceBatch("journal", [line.body for line in updates], str, None, lambda _: None)
            repeats = frozenset(index for index, line in enumerate(updates) if line.kind == records.REPEAT)
            yield Inputs(lines[0].block.now_ms, [batch], commands, repeats, lines[0].ordinal)


def _identities(body: bytes) -> list[Identity]:
    try:
        return list(parse_update(body).identities)
    except UpdateRefusedError:
        return []
