"""An update of a batch under way, as it was read."""

from __future__ import annotations

from typing import Final

from headrace.core.model import Identity
from headrace.core.update import Update, parse_update

REPEATED: Final = b"repeated"
"""In place of an update id's digest: known to be a repeat."""


class Parsed:
    """An update of a slice.

    Attributes:
        identities: See ``core.update.Update``.
        primary: Likewise.
        note: What C noted of a plain update; None of any other.
        digest: Of its id; None where it has none.
        number: Its batch.
        index: Its place there.
        source: Index of its source.
    """

    __slots__ = (
        "_stamped",
        "_update",
        "body",
        "digest",
        "identities",
        "index",
        "note",
        "number",
        "primary",
        "source",
    )

    def __init__(
        self, identities: list[Identity], primary: Identity, update: Update | None, note: bytes | None,
        digest: bytes | None, body: bytes, number: int, index: int, source: int, *, stamped: bool,
    ) -> None:  # fmt: skip
        self.identities, self.primary, self.note = identities, primary, note
        self._update, self._stamped = update, stamped
        self.digest, self.body = digest, body
        self.number, self.index, self.source = number, index, source

    @property
    def update(self) -> Update:
        """The update, decoded; a plain one only now."""
        if self._update is None:
            self._update = parse_update(self.body, stamped=self._stamped)
        return self._update
