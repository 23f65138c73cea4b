"""Reads the updates of a batch: by ``core.update``, or by C as far as that goes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from headrace.core import plain
from headrace.core.update import parse_update
from headrace.errors import UpdateRefusedError
from headrace.runtimes.embedded.decision import Decision
from headrace.runtimes.embedded.lookup import Lookup
from headrace.runtimes.embedded.parsed import REPEATED, Parsed
from headrace.sources.base import Batch as SourceBatch
from headrace.sources.base import Refused
from headrace.state import records

_AT_ONCE: Final = plain.AT_ONCE
"""Updates that are read before they are decided: so much stays in the processor's cache."""


class Parser:
    """Reads the updates of one decision's batches.

    Args:
        batches: Raw updates.
        lookup: Asked whether ids of updates came before.
        out: Refusals go here.
        totals: They are counted into.
        stamped: Also read the updates' own times.
        repeats: Indexes of updates that were repeats, when a journal is folded again.

    Attributes:
        names: The sources.
        left: What C left of the updates that it was last given to read.
    """

    def __init__(
        self, batches: Sequence[SourceBatch], lookup: Lookup, out: Decision, totals: records.Totals, *, stamped: bool,
        repeats: frozenset[int] | None,
    ) -> None:  # fmt: skip
        self._batches, self._lookup, self._out, self._totals = batches, lookup, out, totals
        self._stamped, self._repeats = stamped, repeats
        self.names: list[str] = []
        self.left: list[Parsed] = []
        self._sources: list[int] = []
        self._number = self._index = 0
        for batch in batches:
            if batch.source not in self.names:
                self.names.append(batch.source)
            self._sources.append(self.names.index(batch.source))
            totals.received += len(batch.bodies)

    def next_slice(self) -> list[Parsed]:
        """The next updates that are not refused, in order; none at the end."""
        found: list[Parsed] = []
        while len(found) < _AT_ONCE and self._more():
            one = self._next()
            if one is not None:
                found.append(one)
        return found

    def fill(self, by_c: Any) -> int:
        """Have C read the next updates that are not refused (``plain.Slice``), in order; how many there are."""
        by_c.clear()
        self.left = []
        size = 0
        while size < _AT_ONCE and self._more():
            batch = self._batches[self._number]
            source = self._sources[self._number]
            read: int = by_c.read(batch.bodies, batch.ids, self._index, self._end(batch), self._number, source)
            self._index += read
            size += read
            if size < _AT_ONCE and self._index < len(batch.bodies):
                one = self._next()
                if one is not None:
                    by_c.leave()
                    self.left.append(one)
                    size += 1
        return size

    def _end(self, batch: SourceBatch) -> int:
        """How far the updates of a batch are only to be decoded: up to one that was refused, or is a repeat."""
        stops = [one.index for one in batch.refused if one.index >= self._index]
        if self._repeats:
            stops += [index for index in self._repeats if index >= self._index]
        return min([*stops, len(batch.bodies)])

    def _more(self) -> bool:
        """Whether an update is next; go on to its batch."""
        while self._number < len(self._batches):
            if self._index < len(self._batches[self._number].bodies):
                return True
            self._number += 1
            self._index = 0
        return False

    def _next(self) -> Parsed | None:
        """Decode the next update, with the digest of its id; None where it is refused."""
        number, index = self._number, self._index
        self._index += 1
        batch = self._batches[number]
        for before in batch.refused:
            if before.index == index:
                self.refuse(number, before)
                return None
        one = self.parse(batch.bodies[index], None, number, index, self._sources[number])
        if one is not None:
            one.digest = self._digest(batch, index, one.update.update_id)
        return one

    def parse(self, body: bytes, digest: bytes | None, number: int, index: int, source: int) -> Parsed | None:
        """Decode an update of a batch; None where it is refused."""
        try:
            update = parse_update(body, stamped=self._stamped)
        except UpdateRefusedError as error:
            self.refuse(number, Refused(index, error.reason, str(error)))
            return None
        return Parsed(update, digest, body, number, index, source)

    def _digest(self, batch: SourceBatch, index: int, update_id: str | None) -> bytes | None:
        """Of the id of an update, which is asked for; None where it has none."""
        if self._repeats is not None:
            return REPEATED if index in self._repeats else None
        if batch.ids is not None:
            update_id = batch.ids[index] or update_id
        if update_id is None:
            return None
        digest = hashlib.blake2b(update_id.encode(), digest_size=16).digest()
        self._lookup.ask(digest)
        return digest

    def refuse(self, number: int, refused: Refused) -> None:
        """An update of this batch is not taken."""
        self._out.refused[number].append(refused)
        counts = self._totals.refused
        counts[refused.reason] = counts.get(refused.reason, 0) + 1
