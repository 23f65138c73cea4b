r"""Attribute paths: parse them, and read, project and match a profile's attributes by them.

A path is dotted names (``person.name.lastName``). A name holds any character but ``. [ ] ' "``, spaces and
control characters; any other name is quoted: ``a['b.c'].d``, with ``\'`` and ``\\`` inside the quotes. The prefix
``xdm:`` of an unquoted step is dropped, as AEP drops it between schema and JSON.

A projection tree maps a name to the tree below it, or, where a mapped path ends, to that path as text:
``{"person": {"name": {"lastName": "person.name.lastName"}}}``. ``project`` and ``written`` run for every update
and flow, so they are plain loops over plain dicts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from .model import MAX_DEPTH

_SPECIAL: Final = frozenset(".[]'\"")
_PREFIX: Final = "xdm:"


class PathMistake(msgspec.Struct, frozen=True):
    """Why a text is not a path.

    Attributes:
        position: Index of the character at fault, from 0; the text's length when something is missing at its end.
        problem: What is wrong there.
    """

    position: int
    problem: str


def parse(text: str) -> tuple[str, ...] | PathMistake:
    """Parse a path into its 1 to ``MAX_DEPTH`` names.

    Examples:
        >>> parse("person.name.lastName")
        ('person', 'name', 'lastName')
        >>> parse("xdm:a['b.c']")
        ('a', 'b.c')
        >>> parse("a..b")
        PathMistake(position=2, problem='a name is missing')
    """
    steps: list[str] = []
    at, end = 0, len(text)
    while True:
        step = _quoted(text, at) if at < end and text[at] == "[" else _bare(text, at)
        if isinstance(step, PathMistake):
            return step
        name, after = step
        steps.append(name)
        if len(steps) > MAX_DEPTH:
            return PathMistake(at, f"the path is deeper than {MAX_DEPTH} names")
        if after == end:
            return tuple(steps)
        at = after + 1 if text[after] == "." else after


def _bare(text: str, start: int) -> tuple[str, int] | PathMistake:
    """One unquoted name from *start*: the name and the index after it."""
    at, end = start, len(text)
    while at < end and (char := text[at]) not in _SPECIAL and not char.isspace() and char.isprintable():
        at += 1
    if at < end and text[at] not in ".[":
        return PathMistake(at, f"{_named(text[at])} is not allowed in a name unless it is quoted: ['…']")
    name = text[start:at].removeprefix(_PREFIX)
    if not name:
        return PathMistake(start, "a name is missing")
    return name, at


def _named(char: str) -> str:
    return "a space" if char.isspace() else f"{char!r}" if char.isprintable() else "a control character"


def _quoted(text: str, start: int) -> tuple[str, int] | PathMistake:
    """One quoted name from the ``[`` at *start*: the name and the index after the ``]``."""
    end = len(text)
    if start + 1 >= end or text[start + 1] != "'":
        return PathMistake(start + 1, "[ opens a quoted name, so ' must follow; a path does not step into arrays")
    chars: list[str] = []
    at = start + 2
    while at < end and text[at] != "'":
        if text[at] == "\\":
            at += 1
            if at == end or text[at] not in "'\\":
                return PathMistake(at, "after \\ only ' or \\ may follow")
        chars.append(text[at])
        at += 1
    if at == end:
        return PathMistake(end, "the quoted name is not closed with ']")
    if not chars:
        return PathMistake(at, "a name is missing")
    if at + 1 == end or text[at + 1] != "]":
        return PathMistake(at + 1, "] must follow the quoted name")
    after = at + 2
    if after < end and text[after] not in ".[":
        return PathMistake(after, "after a quoted name . or [ must follow")
    return "".join(chars), after


def dotted(steps: Sequence[str]) -> str:
    """The canonical text of a path: ``parse(dotted(steps)) == steps`` for any names that are not empty.

    Examples:
        >>> dotted(("a", "b.c", "d"))
        "a['b.c'].d"
    """
    out: list[str] = []
    for step in steps:
        plain = not step.startswith(_PREFIX) and all(
            char not in _SPECIAL and not char.isspace() and char.isprintable() for char in step
        )
        if plain:
            out.append(f".{step}" if out else step)
        else:
            quoted = step.replace("\\", "\\\\").replace("'", "\\'")
            out.append(f"['{quoted}']")
    return "".join(out)


def tree(paths: Iterable[Sequence[str]]) -> dict[str, Any]:
    """Build the projection tree of parsed paths.

    A mapped ancestor swallows what is mapped below it. Names keep the order in which they first come up.

    Examples:
        >>> tree([("a", "b"), ("c",), ("a", "d")])
        {'a': {'b': 'a.b', 'd': 'a.d'}, 'c': 'c'}
    """
    root: dict[str, Any] = {}
    for steps in paths:
        here = root
        for step in steps[:-1]:
            below = here.setdefault(step, {})
            if type(below) is str:
                break
            here = below
        else:
            here[steps[-1]] = dotted(steps)
    return root


def leaves(tree: dict[str, Any]) -> list[str]:
    """The mapped paths of a tree as text, in its order."""
    found: list[str] = []
    for below in tree.values():
        if type(below) is str:
            found.append(below)
        else:
            found += leaves(below)
    return found


def read(steps: Sequence[str], attributes: dict[str, Any]) -> Any:
    """The value at a path, or None where there is none."""
    here: Any = attributes
    for step in steps:
        if type(here) is not dict:
            return None
        here = here.get(step)
    return here


def project(tree: dict[str, Any], attributes: dict[str, Any]) -> dict[str, Any]:
    """The mapped attributes that a profile has, nested, in the tree's order.

    Absent and null attributes and objects with nothing mapped in them are left out. Arrays are values: no path
    steps into them. Values are shared with *attributes*, not copied.
    """
    found: dict[str, Any] = {}
    for name, below in tree.items():
        value = attributes.get(name)
        if value is None:
            continue
        if type(value) is dict:
            if type(below) is dict:
                value = project(below, value)
            if value:
                found[name] = value
        elif type(below) is str:
            found[name] = value
    return found


_ABSENT: Final[Any] = object()


def written(tree: dict[str, Any], attributes: dict[str, Any]) -> list[str]:
    """The mapped paths that an update writes, as text, in the tree's order.

    A path is written when the update has a value (null too) at it, or a scalar, null or array at an ancestor of it,
    which replaces or removes all below. An object at an ancestor says nothing about paths that it does not hold.
    """
    if len(attributes) == 1:
        # Most updates write one thing: then there is no order to keep, and nothing else of the tree to look up.
        for name, value in attributes.items():
            below = tree.get(name)
            if isinstance(below, str):
                return [below]
            if below is not None:
                return written(below, value) if isinstance(value, dict) else leaves(below)
        return []
    found: list[str] = []
    _collect(tree, attributes, found)
    return found


def _collect(tree: dict[str, Any], attributes: dict[str, Any], found: list[str]) -> None:
    # Looking each mapped name up in the update is the cheap way out: most updates hold none of them.
    for name, below in tree.items():
        value = attributes.get(name, _ABSENT)
        if value is _ABSENT:
            continue
        if isinstance(below, str):
            found.append(below)
        elif isinstance(value, dict):
            _collect(below, value, found)
        else:
            found += leaves(below)
