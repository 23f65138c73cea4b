"""A profile as it is kept, and its bytes: how it is written to disk and read back."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headrace.core.model import FORMAT, FlowMark, Membership
from headrace.errors import BugError, UpdateRefusedError

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(
    tuple[
        int, str, int, int, dict[str, list[str]], dict[str, Any], dict[str, int], dict[str, dict[str, Membership]],
        dict[str, FlowMark], int,
    ]
).decode  # fmt: skip


class Envelope:
    """A profile as it is kept. The order of the fields is that of its bytes (``FORMAT``).

    A class of its own and no struct: compiled, its members are read without asking the type, thirty times an input.

    Attributes:
        format: Version of this encoding.
        profile_id: 32 hexadecimal digits, opaque.
        epoch: Ordinal of the input that created the profile.
        version: Grows by one per applied input that changed something or made an export, so that no two
            exports of one flow share an id.
        identities: Namespace to ids, both sorted.
        attributes: Everything of the XDM record but identities and memberships.
        stamps: For each top-level attribute the ordinal of the input that gave it its value (with
            mergeBy timestamp: that input's own time, epoch milliseconds).
        memberships: Namespace to audience id to membership, both sorted.
        marks: Flow id to what it last exported.
        ordinal: Ordinal of the last input that changed something.
    """

    __slots__ = ("attributes", "epoch", "format", "identities", "marks", "memberships", "ordinal", "profile_id",
                 "stamps", "version")  # fmt: skip

    def __init__(
        self, format: int, profile_id: str, epoch: int, version: int, identities: dict[str, list[str]],
        attributes: dict[str, Any], stamps: dict[str, int], memberships: dict[str, dict[str, Membership]],
        marks: dict[str, FlowMark], ordinal: int,
    ) -> None:  # fmt: skip
        self.format, self.profile_id, self.epoch, self.version = format, profile_id, epoch, version
        self.identities, self.attributes, self.stamps = identities, attributes, stamps
        self.memberships, self.marks, self.ordinal = memberships, marks, ordinal


def encode(envelope: Envelope) -> bytes:
    """The envelope's bytes.

    Raises:
        UpdateRefusedError: An attribute holds an integer beyond 64 bits.
    """
    e = envelope
    encoded = b""
    try:
        encoded = _encode((
            e.format, e.profile_id, e.epoch, e.version, e.identities, e.attributes, e.stamps, e.memberships, e.marks,
            e.ordinal,
        ))  # fmt: skip
    except OverflowError:
        encoded = b""
    if not encoded:
        raise UpdateRefusedError(
            reason="number-out-of-range", problem="an integer does not fit 64 bits; send it as a string"
        )
    return encoded


def decode(stored: bytes) -> Envelope:
    """The profile of stored bytes; earlier formats are brought up to today's here."""
    number, profile_id, epoch, version, identities, attributes, stamps, memberships, marks, ordinal = _decode(stored)
    if number != FORMAT:
        raise BugError(problem=f"an envelope of format {number} in a folder of format {FORMAT}")
    return Envelope(
        FORMAT, profile_id, epoch, version, identities, attributes, stamps, memberships, marks, ordinal
    )  # fmt: skip
