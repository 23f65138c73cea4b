"""Reads a configuration's parts and gathers every mistake in them, rather than stop at the first.

Each reader answers a usable value in any case; whoever built something looks at ``mistakes`` before using it.
Values that came from elsewhere (``Referenced``) are shown by where they came from, never by what they are; what the
readers answer is plain, so a caller that shows a value shows the one in the parent.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from headrace.errors import Mistake

ID_PATTERN: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
ID_ALLOWED: Final = "1 to 128 letters, digits, . _ -"

_MOST_SHOWN_CHARS: Final = 60


class Referenced(str):
    """A text read from the environment or a file; its repr is the reference, so that no report shows the text."""

    __slots__ = ("reference",)
    reference: str

    def __new__(cls, value: str, reference: str) -> Referenced:
        """Make one of the *value* and the text that referred to it: ``${env:NAME}``."""
        made = super().__new__(cls, value)
        made.reference = reference
        return made

    def __repr__(self) -> str:
        return repr(self.reference)


def kind(value: Any) -> str:
    """What a value is, in a report's words."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "text"
        case int() | float():
            return "a number"
        case Mapping():
            return "an object"
        case _:
            return "a list"


def shown(value: Any) -> str:
    """A value as a report shows it: short, and without what was referenced."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if not isinstance(value, str | int | float):
        return kind(value)
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN_CHARS else text[: _MOST_SHOWN_CHARS - 1] + "…"


class Report:
    """The mistakes and warnings found so far.

    Attributes:
        mistakes: In the order found; empty when all is right.
        warnings: What is accepted, but is hardly meant.
    """

    def __init__(self) -> None:
        self.mistakes: list[Mistake] = []
        self.warnings: list[str] = []

    def mistake(self, place: str, problem: str, allowed: str = "") -> None:
        """Note a mistake."""
        self.mistakes.append(Mistake(place, problem, allowed))

    def warn(self, place: str, text: str) -> None:
        """Note a warning."""
        self.warnings.append(f"{place}: {text}")

    def members(
        self, value: Any, place: str, known: Collection[str], accepted: Collection[str] = ()
    ) -> Mapping[str, Any]:
        """An object whose keys are *known* or silently *accepted*; null is the empty object."""
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.mistake(place, f"must be an object, not {kind(value)}")
            return {}
        for key in value:
            if key not in known and key not in accepted:
                self.mistake(f"{place}.{key}" if place else str(key), "unknown key", ", ".join(known))
        return value

    def elements(self, parent: Mapping[str, Any], key: str, place: str, *, required: bool = False) -> Sequence[Any]:
        """A list; null and absent are the empty list."""
        value = parent.get(key)
        if value is None:
            if required:
                self.mistake(f"{place}.{key}", "is missing")
            return []
        if not isinstance(value, list):
            self.mistake(f"{place}.{key}", f"must be a list, not {kind(value)}")
            return []
        return value

    def text(self, parent: Mapping[str, Any], key: str, place: str, *, required: bool = False) -> str:
        """A plain text without control characters; empty when absent or wrong."""
        value = parent.get(key)
        at = f"{place}.{key}"
        if value is None:
            if required:
                self.mistake(at, "is missing")
        elif not isinstance(value, str):
            quote = "; put it in quotes" if isinstance(value, bool | int | float) else ""
            self.mistake(at, f"must be text, not {kind(value)}{quote}")
        elif required and not value.strip():
            self.mistake(at, "is empty")
        elif any(ord(char) < 32 and char not in "\t\n\r" for char in value):
            self.mistake(at, "holds a control character")
        else:
            return str(value)
        return ""

    def identifier(self, parent: Mapping[str, Any], key: str, place: str) -> str:
        """A required id of ``ID_PATTERN``; empty when absent or wrong."""
        value = self.text(parent, key, place, required=True)
        if value and not ID_PATTERN.fullmatch(value):
            self.mistake(f"{place}.{key}", f"{shown(parent[key])} is not an id", ID_ALLOWED)
            return ""
        return value

    def flag(self, parent: Mapping[str, Any], key: str, place: str, *, default: bool) -> bool:
        """True or false."""
        value = parent.get(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self.mistake(f"{place}.{key}", f"must be true or false, not {shown(value)}", "true, false")
        return default

    def choice(self, parent: Mapping[str, Any], key: str, place: str, choices: Sequence[str]) -> str:
        """One of *choices*; the first is the default."""
        value = parent.get(key)
        if value is None:
            return choices[0]
        if isinstance(value, str) and value in choices:
            return choices[choices.index(value)]
        self.mistake(f"{place}.{key}", f"{shown(value)} is not known", ", ".join(choices))
        return choices[0]

    def whole(self, parent: Mapping[str, Any], key: str, place: str, *, least: int, most: int) -> int | None:
        """A whole number within limits; None when absent or wrong."""
        value = parent.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.mistake(f"{place}.{key}", f"must be a whole number, not {shown(value)}", f"{least} to {most}")
            return None
        return value

    def unique(self, value: str, seen: dict[str, str], place: str) -> None:
        """Note a mistake when *value* was seen before; remember where."""
        if not value:
            return
        first = seen.setdefault(value, place)
        if first != place:
            self.mistake(place, f"is there twice, first at {first}")
