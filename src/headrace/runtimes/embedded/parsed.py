"""An update of a batch under way, as it was read."""

from __future__ import annotations

from typing import Final

from headrace.core.update import Update

REPEATED: Final = b"repeated"
"""In place of an update id's digest: known to be a repeat."""


class Parsed:
    """An update of a slice.

    Attributes:
        update: The update, decoded.
        identities: Its identities.
        primary: The one of them that leads.
        body: Its bytes.
        digest: Of its id; None where it has none.
        number: Its batch.
        index: Its place there.
        source: Index of its source.
    """

    __slots__ = (
        "body",
        "digest",
        "identities",
        "index",
        "number",
        "primary",
        "source",
        "update",
    )

    def __init__(
        self, update: Update, digest: bytes | None, body: bytes, number: int, index: int, source: int
    ) -> None:  # fmt: skip
        self.update, self.identities, self.primary = update, update.identities, update.primary
        self.digest, self.body = digest, body
        self.number, self.index, self.source = number, index, source
