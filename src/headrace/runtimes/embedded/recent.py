"""The last inputs of the journal, and the profiles as they were before them: what a preview folds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from headrace.core.envelope import decode
from headrace.core.model import Envelope, Identity
from headrace.core.update import parse_update
from headrace.errors import UpdateRefusedError
from headrace.runtimes.embedded.above import Above, stored_profiles
from headrace.runtimes.embedded.past import COMMANDS, Line, Past
from headrace.runtimes.embedded.preview import Inputs
from headrace.sources.base import Batch as SourceBatch
from headrace.state import records
from headrace.state.base import State
from headrace.state.keys import MOST, Keys

_KINDS: Final = frozenset({records.TICK, records.DELETE})


class Recent:
    """The last inputs of the journal, and the profiles as they were before them.

    Args:
        state: Where the journal lies.
        keys: Of the sandbox.
        most: How many inputs.

    Attributes:
        base: A state with those profiles.
        untold: Inputs left out, because the journal does not tell what their profile was before.
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
        for lines in self._lines():
            for line in lines:
                if line.profile_id and {line.profile_id, *line.absorbed} - self._known.keys():
                    self._know(line)
                if line.kind == records.UPDATE:
                    named.update(dict.fromkeys(_identities(line.body)))
        kept = [envelope for envelope in self._known.values() if envelope is not None]
        self._know_others(list(named))
        stored_profiles(self.base, self._keys, [*kept, *self._others])

    def _know(self, line: Line) -> None:
        moment = self._past.moment(line)
        if moment is None:
            self._unknown.add(line.profile_id)
            self._known.setdefault(line.profile_id, None)
            return
        self._known.setdefault(line.profile_id, moment.before)
        for absorbed in moment.absorbed:
            self._known.setdefault(absorbed.profile_id, absorbed)

    def _know_others(self, named: Sequence[Identity]) -> None:
        """Profiles that inputs name and that none changed: they are what they were."""
        rows = self._state.get_many([self._keys.identity(*identity) for identity in named])
        ids = {records.decode_index_row(row).profile_id for row in rows if row is not None} - self._known.keys()
        found = self._state.get_many([self._keys.profile(profile_id) for profile_id in ids])
        self._others = [decode(each) for each in found if each is not None]

    def inputs(self) -> Iterator[Inputs]:
        """The inputs, a block at a time; those of which nothing is known are counted and left out."""
        for lines in self._lines():
            known = [line for line in lines if line.profile_id not in self._unknown]
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
