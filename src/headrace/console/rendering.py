"""Templates, and how times, numbers and bytes are written in them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jinja2
import msgspec
from markupsafe import Markup, escape

from .masking import masked

_FOLDER: Final = Path(__file__).parent
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_SPANS: Final = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def environment() -> jinja2.Environment:
    """The templates; what is not there is an error rather than empty."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "utc": utc,
        "hour": hour,
        "stamp": stamp,
        "bytes": in_bytes,
        "number": number,
        "pretty": pretty,
        "masked": masked,
        "short": short,
        "percent": percent,
        "duration": duration,
    }
    return made


def utc(at_ms: float | None) -> str:
    """A time as people read it: ``2026-11-24 13:05:09 UTC``; epoch milliseconds in."""
    if not at_ms:
        return "—"
    moment = datetime.datetime.fromtimestamp(at_ms / 1000, datetime.UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def hour(at_ms: float) -> str:
    """A whole hour, for columns of them: ``2026-11-24 13:00``, UTC."""
    return utc(at_ms)[:16]


def stamp(text: str) -> str:
    """A time as profiles and explanations hold it, ``2026-11-24T13:05:09Z``, as people read it; else as it is."""
    day, letter, clock = text.partition("T")
    return f"{day} {clock[:-1]} UTC" if letter and clock.endswith("Z") and len(day) == 10 else text


def iso(at_ms: float) -> str:
    """A time as ``<time datetime>`` has it."""
    return datetime.datetime.fromtimestamp(at_ms / 1000, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def span(at_ms: float, now_ms: float) -> tuple[str, int]:
    """How far away a time is, in its greatest whole unit: ``("hour", 3)``; seconds for now."""
    seconds = abs(now_ms - at_ms) / 1000
    for length_s, unit in _SPANS:
        if seconds >= length_s:
            return unit, int(seconds // length_s)
    return "second", 0


def in_bytes(size: float | None) -> str:
    """A size with its unit: ``4.2 KiB``."""
    if size is None:
        return "—"
    for unit in _UNITS[:-1]:
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} {_UNITS[-1]}"


def number(value: float | None) -> str:
    """A whole number in groups of three, by thin spaces, which every language reads."""
    return "—" if value is None else f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def percent(share: float | None) -> str:
    """A share of 1 as per cent; never 100 when something is missing."""
    if share is None:
        return "—"
    if 0.999 <= share < 1:
        return f"{int(share * 10_000) / 100:.2f} %"
    return f"{share * 100:.1f} %" if share < 1 else "100 %"


def duration(ms: float | None) -> str:
    """A length of time: ``12 ms``, ``1.4 s``, ``3 min``."""
    if ms is None:
        return "—"
    if ms < 1000:
        return f"{ms:.0f} ms" if ms >= 10 or ms == int(ms) else f"{ms:.1f} ms"
    if ms < 60_000:
        return f"{ms / 1000:.1f} s"
    return f"{ms / 60_000:.0f} min" if ms < 3_600_000 else f"{ms / 3_600_000:.1f} h"


def short(text: str) -> str:
    """The beginning of a long id, for narrow columns; the whole is copied."""
    return text if len(text) <= 13 else f"{text[:8]}…"


def pretty(value: Any) -> Markup:
    """JSON with its parts marked for colour; every text in it is escaped."""
    return Markup("".join(_marked(value, 0)))  # noqa: S704  # _marked escapes


def _marked(value: Any, depth: int) -> list[str]:
    indent, closing = "  " * (depth + 1), "  " * depth
    if isinstance(value, Mapping) and value:
        parts = ["{\n"]
        for index, (name, each) in enumerate(value.items()):
            parts += [indent, _span("j-name", str(name)), ": ", *_marked(each, depth + 1)]
            parts.append("\n" if index == len(value) - 1 else ",\n")
        return [*parts, closing, "}"]
    if isinstance(value, list | tuple) and value:
        parts = ["[\n"]
        for index, each in enumerate(value):
            parts += [indent, *_marked(each, depth + 1), "\n" if index == len(value) - 1 else ",\n"]
        return [*parts, closing, "]"]
    return [_span("j-text" if isinstance(value, str) else "j-value", value)]


def _span(kind: str, value: Any) -> str:
    return f'<span class="{kind}">{escape(msgspec.json.encode(value).decode())}</span>'
