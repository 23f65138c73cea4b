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


class _Rest(msgspec.Struct, array_like=True):
    """An ``Envelope`` whose other fields are passed on unread."""

    format: int
    profile_id: msgspec.Raw
    epoch: int
    version: msgspec.Raw
    identities: msgspec.Raw
    attributes: msgspec.Raw
    stamps: msgspec.Raw
    memberships: msgspec.Raw
    marks: msgspec.Raw
    ordinal: msgspec.Raw


_rest: Final = msgspec.msgpack.Decoder(_Rest).decode
_encode: Final = msgspec.msgpack.Encoder().encode


def with_epoch(stored: bytes, epoch: int) -> bytes:
    """The bytes of the same profile in another epoch."""
    envelope = _rest(stored)
    envelope.epoch = epoch
    return _encode(envelope)
