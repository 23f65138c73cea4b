"""A state above another one, which is only read: what is written stays in memory, and is forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from headrace.core.envelope import Envelope, encode
from headrace.errors import BugError
from headrace.state import records
from headrace.state.base import Batch, State
from headrace.state.keys import Keys
from headrace.state.memory import MemoryBatch


class Above:
    """See ``state.base.State``, of which it does what deciding needs: single keys, and no ranges.

    Args:
        below: Read where nothing was written; None for nothing there.
    """

    def __init__(self, below: State | None) -> None:
        self._below = below
        self._values: dict[bytes, bytes | None] = {}

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See ``State``."""
        values = self._values
        wanted = [key for key in keys if key not in values] if self._below is not None else []
        below = dict(zip(wanted, self._below.get_many(wanted), strict=True)) if wanted and self._below else {}
        return [values[key] if key in values else below.get(key) for key in keys]

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Not offered."""
        raise BugError(problem="a state above another one has no ranges")

    scan_back = scan

    def batch(self) -> MemoryBatch:
        """See ``State``."""
        return MemoryBatch()

    def commit(self, batch: Batch) -> None:
        """See ``State``."""
        assert isinstance(batch, MemoryBatch)
        for key, value, end in batch.changes:
            if end is not None:
                raise BugError(problem="a state above another one has no ranges")
            self._values[key] = value
        batch.changes = []

    def sync(self) -> None:
        """Nothing is to be kept."""

    def compact(self) -> None:
        """See ``state.base.State``: nothing of it is kept."""

    def close(self) -> None:
        """Nothing is held."""


def stored_profiles(state: Above, keys: Keys, profiles: Iterable[Envelope]) -> None:
    """Put profiles into a state, with the rows of their identities."""
    batch = state.batch()
    for profile in profiles:
        batch.put(keys.profile(profile.profile_id), encode(profile))
        row = records.encode(records.IndexRow(profile.profile_id, profile.epoch))
        for namespace, ids in profile.identities.items():
            for key in ids:
                batch.put(keys.identity(namespace, key), row)
    state.commit(batch)
