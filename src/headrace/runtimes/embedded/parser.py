"""Reads the updates of a batch: by C where they are plain, else by ``core.update``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from headrace.core.model import Identity
from headrace.core.update import Update, parse_update
from headrace.errors import UpdateRefusedError
from headrace.runtimes.embedded.decision import Decision
from headrace.runtimes.embedded.lookup import Lookup
from headrace.runtimes.embedded.parsed import REPEATED, Parsed
from headrace.sources.base import Batch as SourceBatch
from headrace.sources.base import Refused
from headrace.state import records

_SLICE: Final = 64
"""Updates that are decoded before they are decided: so much stays in the processor's cache."""


class Parser:
    """Reads the updates of one decision's batches.

    Args:
        batches: Raw updates.
        lookup: Asked whether ids of updates came before.
        out: Refusals go here.
        totals: They are counted into.
        stamped: Also read the updates' own times.
        scan: Reads plain updates (``core.plain``); None to have all decoded.
        repeats: Indexes of updates that were repeats, when a journal is folded again.

    Attributes:
        names: The sources.
    """

    def __init__(
        self, batches: Sequence[SourceBatch], lookup: Lookup, out: Decision, totals: records.Totals, *, stamped: bool,
        scan: Any, repeats: frozenset[int] | None,
    ) -> None:  # fmt: skip
        self._batches, self._lookup, self._out, self._totals = batches, lookup, out, totals
        self._stamped, self._scan, self._repeats = stamped, scan, repeats
        self.names: list[str] = []
        self._places: list[tuple[int, int, int]] = []
        self._at = 0
        for number, batch in enumerate(batches):
            if batch.source not in self.names:
                self.names.append(batch.source)
            source = self.names.index(batch.source)
            totals.received += len(batch.bodies)
            self._places += [(number, index, source) for index in range(len(batch.bodies))]

    def next_slice(self) -> list[Parsed]:
        """The next updates that are not refused, in order; none at the end."""
        found: list[Parsed] = []
        while not found and self._at < len(self._places):
            for number, index, source in self._places[self._at : self._at + _SLICE]:
                one = self._parse(number, index, source)
                if one is not None:
                    found.append(one)
            self._at += _SLICE
        return found

    def _parse(self, number: int, index: int, source: int) -> Parsed | None:
        """Decode one update, with the digest of its id; None where it is refused."""
        batch = self._batches[number]
        for before in batch.refused:
            if before.index == index:
                self.refuse(number, before)
                return None
        body: bytes = batch.bodies[index]
        scanned: Any = self._scan(body) if self._scan is not None else None
        update: Update | None = None
        note: bytes | None = None
        identities: list[Identity]
        primary: Identity
        update_id: str | None
        if scanned is not None:
            identities, primary, update_id, note = scanned
        else:
            try:
                update = parse_update(body, stamped=self._stamped)
            except UpdateRefusedError as error:
                self.refuse(number, Refused(index, error.reason, str(error)))
                return None
            identities, primary, update_id = update.identities, update.primary, update.update_id
        digest = None
        if self._repeats is not None:
            digest = REPEATED if index in self._repeats else None
        else:
            if batch.ids is not None:
                update_id = batch.ids[index] or update_id
            if update_id is not None:
                digest = hashlib.blake2b(update_id.encode(), digest_size=16).digest()
                self._lookup.ask(digest)
        return Parsed(
            identities, primary, update, note, digest, body, number, index, source, stamped=self._stamped
        )  # fmt: skip

    def refuse(self, number: int, refused: Refused) -> None:
        """An update of this batch is not taken."""
        self._out.refused[number].append(refused)
        counts = self._totals.refused
        counts[refused.reason] = counts.get(refused.reason, 0) + 1
