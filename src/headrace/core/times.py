"""Times as canonical text, ``2026-01-11T21:24:39.000Z``: text order is time order, and seconds are a slice away."""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from headrace.errors import UpdateRefusedError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_from_iso = datetime.fromisoformat
_rfc_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ](?:[01]\d|2[0-3]):\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:?\d\d)", re.ASCII
).fullmatch


def canonical(value: Any, place: str = "") -> str:
    """Read an RFC 3339 date-time with an offset (``+0000`` without the colon too, as AEP's samples have it).

    Args:
        value: What the update holds.
        place: Where, for the error.

    Returns:
        The instant in UTC, milliseconds, 24 characters. Digits beyond milliseconds are cut off.

    Raises:
        UpdateRefusedError: It is none (reason ``bad-time``), has no offset, or is a leap second.
    """
    if type(value) is not str:
        raise UpdateRefusedError(reason="bad-time", place=place, problem="is not a date-time in text")
    try:
        # fromisoformat alone would also take week dates, times without colons and, in later Pythons, 24:00.
        size = len(value)
        if (
            (size == 20 or (size == 24 and value[19] == "."))
            and value[-1] == "Z"
            and value[10] == "T"
            and value[4] == value[7] == "-"
            and value[13] == value[16] == ":"
            and value[11:13] != "24"
        ):
            _from_iso(value)
            return value if size == 24 else value[:19] + ".000Z"
        if _rfc_3339(value) is not None:
            return _text(_from_iso(value.upper()).astimezone(UTC))
    except (ValueError, OverflowError):
        pass
    # Outside the handler, so that the error that quotes the value hangs on nothing.
    raise UpdateRefusedError(reason="bad-time", place=place, problem="is not an RFC 3339 date-time with an offset")


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.").zfill(20) + f"{moment.microsecond // 1000:03d}Z"


@functools.lru_cache(maxsize=1024)
def from_ms(epoch_ms: int) -> str:
    """The canonical text of an instant in epoch milliseconds."""
    return _text(_EPOCH + timedelta(milliseconds=epoch_ms))


def to_ms(text: str) -> int:
    """Epoch milliseconds of a canonical text."""
    return (_from_iso(text) - _EPOCH) // _MS


def on_wire(text: str) -> str:
    """As messages carry it: seconds, with Z (spec 9, choice 9)."""
    return text[:19] + "Z"
