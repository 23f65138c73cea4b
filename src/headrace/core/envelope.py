"""An envelope is bytes: how a profile is written to disk and read back."""

from __future__ import annotations

from typing import Final

import msgspec

from headrace.core.model import FORMAT, Envelope
from headrace.errors import BugError, UpdateRefusedError

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Envelope)


def encode(envelope: Envelope) -> bytes:
    """The envelope's bytes.

    Raises:
        UpdateRefusedError: An attribute holds an integer beyond 64 bits.
    """
    encoded = b""
    try:
        encoded = _encoder.encode(envelope)
    except OverflowError:
        encoded = b""
    if not encoded:
        raise UpdateRefusedError(
            reason="number-out-of-range", problem="an integer does not fit 64 bits; send it as a string"
        )
    return encoded


def decode(stored: bytes) -> Envelope:
    """The profile of stored bytes; earlier formats are brought up to today's here."""
    envelope = _decoder.decode(stored)
    if envelope.format != FORMAT:
        raise BugError(problem=f"an envelope of format {envelope.format} in a folder of format {FORMAT}")
    return envelope
