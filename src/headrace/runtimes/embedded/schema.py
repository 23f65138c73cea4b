"""Which attribute paths the stored profiles have: type, how many have it, and the shape of one value.

Seen on a part of the profiles only, so that the answer costs the same whatever their number. Profile ids are digests:
any stretch of them is as good a sample as any other, and the same folder gives the same answer.

No value is told. A sample keeps which characters are letters, digits and signs, and their number up to a bound. Names
that are values themselves (of a map by e-mail address, say) are not told either.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from headrace.clock import Clock, System
from headrace.core.paths import dotted
from headrace.state.base import State
from headrace.state.keys import PROFILE, Keys

MOST_PROFILES: Final = 2000
BUDGET_S: Final = 0.2
"""After so long the answer is made of what was seen by then."""
MOST_PATHS: Final = 2000
_STRETCHES: Final = 32
"""Parts of the id space from whose beginnings profiles are taken."""
_MOST_NAMES: Final = 2000
"""Names below one object that are noted."""
_MAP_NAMES: Final = 50
_MAP_SHARE: Final = 0.1
"""An object with more names than that, each of which few profiles have, is a map: its names are values."""
_A_VALUE: Final = re.compile(r"@|\d{6}|.{100}", re.DOTALL)
"""What is hardly the name of an attribute."""
_MOST_CHARS: Final = 24
_ID_SPACE: Final = 1 << 32
_RUN: Final = 5
"""Profiles that are taken from one part in its turn."""
# The JSON type of a value, with whole numbers apart; a null is none.
_KINDS: Final = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


class PathSeen(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One attribute path.

    Attributes:
        path: As a mapping names it.
        type: string, integer, number, boolean, array or object: the one seen most.
        count: Profiles, of those looked at, that have a value there.
        of: Profiles looked at.
        sample: Shape of one value of this type; empty for objects.
        types: Every type seen with its number, where there are several: a conflict.
    """

    path: str
    type: str
    count: int
    of: int
    sample: str = ""
    types: dict[str, int] = {}


class Begun(msgspec.Struct, array_like=True):
    """The beginning of a stored envelope, whose parts are passed over; see ``core.envelope``."""

    format: int
    profile_id: str
    epoch: int
    version: int
    identities: msgspec.Raw


class _Stored(Begun):
    attributes: dict[str, Any]


_decode: Final = msgspec.msgpack.Decoder(_Stored).decode


class _Seen:
    """What was seen at one path."""

    __slots__ = ("below", "samples", "types")

    def __init__(self) -> None:
        self.types: dict[str, int] = {}
        self.samples: dict[str, str] = {}
        self.below: dict[str, _Seen] = {}


def observed(
    state: State, keys: Keys, *, most: int = MOST_PROFILES, budget_s: float = BUDGET_S, clock: Clock | None = None
) -> list[PathSeen]:
    """The paths of stored profiles, by name; may run beside the engine.

    Args:
        state: Where they lie.
        keys: Of the sandbox.
        most: Profiles looked at.
        budget_s: Longest time that looking may take.
        clock: Time; the system's when None.
    """
    clock = clock or System()
    until_s = clock.monotonic_s() + budget_s
    root, of = _Seen(), 0
    for stored in sampled(state, keys, most):
        _note(root, _decode(stored).attributes)
        of += 1
        if clock.monotonic_s() >= until_s:
            break
    found: list[PathSeen] = []
    _tell(root, (), of, found)
    return sorted(found, key=lambda each: each.path)


def answer(state: State, keys: Keys, wanted: Mapping[str, Any]) -> list[PathSeen]:
    """Answer a question of plain values: ``most``, where fewer than ``MOST_PROFILES`` will do."""
    most = int(wanted.get("most") or MOST_PROFILES)
    return observed(state, keys, most=min(max(most, 1), MOST_PROFILES))


def sampled(state: State, keys: Keys, most: int) -> Iterator[bytes]:
    """Up to *most* envelopes: all when there are no more, else from every part of the id space."""
    _, end = keys.space(PROFILE)
    starts = [keys.profile(f"{part * (_ID_SPACE // _STRETCHES):08x}") for part in range(_STRETCHES)]
    scans = [state.scan(start, following) for start, following in zip(starts, [*starts[1:], end], strict=True)]
    # In turns, so that a sample that is cut short is one of everywhere; few profiles are all met.
    while scans and most > 0:
        going = []
        for scan in scans:
            rows = list(itertools.islice(scan, min(_RUN, most)))
            for _, stored in rows:
                yield stored
            most -= len(rows)
            if len(rows) == _RUN:
                going.append(scan)
        scans = going


def _note(seen: _Seen, members: dict[str, Any]) -> None:
    known = seen.below
    for name, value in members.items():
        kind = _KINDS.get(type(value))
        if kind is None:
            continue
        below = known.get(name)
        if below is None:
            if not name or len(known) >= _MOST_NAMES:
                continue
            below = known[name] = _Seen()
        types = below.types
        types[kind] = types.get(kind, 0) + 1
        if kind == "object":
            _note(below, value)
        elif kind not in below.samples:
            below.samples[kind] = shape(value)


def _tell(seen: _Seen, steps: tuple[str, ...], of: int, found: list[PathSeen]) -> None:
    named = seen.below
    if len(named) > _MAP_NAMES:
        owners = seen.types.get("object", 0) if steps else of
        if sum(sum(below.types.values()) for below in named.values()) < _MAP_SHARE * len(named) * owners:
            return
    for name, below in named.items():
        if len(found) >= MOST_PATHS:
            return
        if _A_VALUE.search(name):
            continue
        here = (*steps, name)
        kind, types = _settled(below.types)
        found.append(
            PathSeen(
                path=dotted(here), type=kind, count=sum(below.types.values()), of=of,
                sample=below.samples.get(kind, ""), types=types,
            )
        )  # fmt: skip
        _tell(below, here, of, found)


def _settled(types: dict[str, int]) -> tuple[str, dict[str, int]]:
    """The type seen most, and all types where they conflict; an integer is a number too."""
    counted = dict(types)
    if "number" in counted and "integer" in counted:
        counted["number"] += counted.pop("integer")
    kind = max(sorted(counted), key=lambda each: counted[each])
    return kind, dict(sorted(counted.items())) if len(counted) > 1 else {}


def shape(value: Any) -> str:
    """The shape of a value, without the value.

    Examples:
        >>> shape("Ada@example.com"), shape("+1 555 0100"), shape(-3.25), shape(True), shape(["red", "blue"])
        ('Aaa@aaaaaaa.aaa', '+9 999 9999', '-9.99', 'true or false', '[aaa, …]')
    """
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return _masked(repr(value))
        case str():
            return _masked(value)
        case list():
            inner = shape(value[0]) if value else ""
            return f"[{inner}{', …' if len(value) > 1 else ''}]"
        case dict():
            return "{…}"
        case _:
            return ""


def _masked(text: str) -> str:
    shown = "".join(map(_mask, text[:_MOST_CHARS]))
    return shown + "…" if len(text) > _MOST_CHARS else shown


def _mask(char: str) -> str:
    if char.isdigit():
        return "9"
    if char.isalpha():
        return "A" if char.isupper() else "a"
    if char.isspace():
        return " "
    return char if char.isascii() and char.isprintable() else "•"
