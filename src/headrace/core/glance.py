"""A look at a stored profile that costs a fraction of reading it: its memberships and marks, nothing else.

Timers and backfills look at every profile and have to do with few.
"""

from __future__ import annotations

from typing import Final

import msgspec

from headrace.core.model import FlowMark, Membership


class Glance(msgspec.Struct, array_like=True, gc=False):
    """Some fields of an ``Envelope``, at the places of its fields; the others are passed over unread."""

    format: int
    profile_id: str
    epoch: int
    version: int
    identities: msgspec.Raw
    attributes: msgspec.Raw
    stamps: msgspec.Raw
    memberships: dict[str, dict[str, Membership]]
    marks: dict[str, FlowMark]
    ordinal: int


glance: Final = msgspec.msgpack.Decoder(Glance).decode
"""Look at the bytes of an envelope."""
