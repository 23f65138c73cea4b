"""The journal's block of a batch under way, input by input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from headrace.core.envelope import Envelope
from headrace.runtimes.embedded.lookup import Lookup
from headrace.state import records

_BASE_VERSIONS: Final = 256
"""A profile is also journaled as it was at every so many of its versions, so that few inputs lead to any state."""


class Entries:
    """See the module. What an input adds beside itself is told before the input (``add``).

    Args:
        lookup: Where profiles are as they were before the input at hand.
        base_from: A profile that no input from this ordinal on has changed is journaled as it was.
    """

    def __init__(self, lookup: Lookup, base_from: int) -> None:
        self._lookup, self._base_from = lookup, base_from
        self._kinds = bytearray()
        self._bodies: list[bytes] = []
        self._sources = bytearray()
        self._named: list[str] = []
        self.decisions: dict[tuple[str, ...], int] = {}
        """What was decided about inputs, each different one once, to its index."""
        self._decision: list[int] = []
        self._absorbed: dict[int, list[str]] = {}
        self._links: dict[int, list[int]] = {}
        self._bases: dict[int, list[bytes]] = {}

    def add(self, kind: int, body: bytes, source: int, profile_id: str, held: tuple[str, ...]) -> int:
        """One input: its kind, its bytes, the index of its source, its profile, and each flow's reason.

        Returns:
            The index of the reasons among the different ones.
        """
        place = self.decisions.get(held, -1)
        if place < 0:
            place = self.decisions[held] = len(self.decisions)
        self._named.append(profile_id)
        self._decision.append(place)
        self._kinds.append(kind)
        self._bodies.append(body)
        self._sources.append(source)
        return place

    @property
    def columns(self) -> tuple[object, ...]:
        """Kinds, bodies, sources, profiles, decisions by index, the different decisions, bases: for C to add to."""
        return (
            self._kinds, self._bodies, self._sources, self._named, self._decision, self.decisions, self._bases,
        )  # fmt: skip

    def linked(self, indexes: list[int]) -> None:
        """Only these identities of the input at hand, by index, became its profile's."""
        self._links[len(self._kinds)] = indexes

    def base(self, envelope: Envelope | None, absorbed: Sequence[Envelope]) -> None:
        """Keep profiles as they were before the input at hand, when the journal would not lead there soon."""
        place, lookup = len(self._kinds), self._lookup
        if envelope is None:
            self._bases[place] = []
        elif absorbed:
            self._bases[place] = [lookup.stored(e.profile_id) or b"" for e in (envelope, *absorbed)]
            self._absorbed[place] = [e.profile_id for e in absorbed]
        elif envelope.ordinal < self._base_from or not envelope.version % _BASE_VERSIONS:
            self._bases[place] = [lookup.stored(envelope.profile_id) or b""]

    def block(
        self, first: int, now_ms: int, version: str, names: list[str], overflowing: list[str]
    ) -> records.JournalBlock | None:
        """The block; None when nothing was added.

        Args:
            first: Ordinal of the first input.
            now_ms: Time of the batch.
            version: Of the configuration.
            names: Of the sources.
            overflowing: Flows that hold back.
        """
        if not self._kinds:
            return None
        return records.JournalBlock(
            first, now_ms, version, bytes(self._kinds), self._bodies, bytes(self._sources), names,
            records.pack_ids(self._named), list(self.decisions), self._decision, self._absorbed, self._links,
            self._bases, overflowing,
        )  # fmt: skip
