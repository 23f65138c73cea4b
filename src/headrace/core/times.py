"""Times as canonical text, ``2026-01-11T21:24:39.000Z``: text order is time order, and seconds are a slice away."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from headrace.errors import UpdateRefusedError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_from_iso = datetime.fromisoformat


def canonical(value: Any, place: str) -> str:
    """Read an RFC 3339 date-time with an offset.

    Args:
        value: What the update holds.
        place: Where, for the error.

    Returns:
        The instant in UTC, milliseconds, 24 characters. Digits beyond milliseconds are cut off.

    Raises:
        UpdateRefusedError: It is none (reason ``bad-time``), or has no offset.
    """
    if type(value) is not str:
        raise UpdateRefusedError(reason="bad-time", place=place, problem="is not a date-time in text")
    try:
        # Asked for its pieces, fromisoformat would also take week dates and other forms of ISO 8601.
        if len(value) < 20 or value[4] != "-" or value[7] != "-" or value[10] not in "Tt ":
            raise ValueError
        moment = _from_iso(value)
        if len(value) == 20 and value[19] == "Z":
            return value[:10] + "T" + value[11:19] + ".000Z"
        if moment.tzinfo is None:
            raise ValueError
        return _text(moment.astimezone(UTC))
    except (ValueError, OverflowError):
        raise UpdateRefusedError(
            reason="bad-time", place=place, problem="is not an RFC 3339 date-time with an offset"
        ) from None


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.").zfill(20) + f"{moment.microsecond // 1000:03d}Z"


@functools.lru_cache(maxsize=1024)
def from_ms(epoch_ms: int) -> str:
    """The canonical text of an instant in epoch milliseconds."""
    return _text(_EPOCH + timedelta(milliseconds=epoch_ms))


def to_ms(text: str) -> int:
    """Epoch milliseconds of a canonical text."""
    return int((_from_iso(text) - _EPOCH) / timedelta(milliseconds=1))


def on_wire(text: str) -> str:
    """As messages carry it: seconds, with Z (spec 9, choice 9)."""
    return text[:19] + "Z"
