"""What the engine says of an export, in the values of the core: cause, and the export itself."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from headrace.core.model import Cause, Export

from .texts import Texts

_MOST_NAMES: Final = 3
"""Of one kind, in a line that stands among others."""


def cause_of(value: Any) -> Cause | None:
    """A cause as the engine's answers hold it: an array, or an object; None when there is none."""
    if isinstance(value, Mapping):
        known = {name: value[name] for name in Cause.__struct_fields__ if name in value}
        return Cause(**known) if "kind" in known else None
    return msgspec.convert(value, Cause) if isinstance(value, list) and value else None


def export_of(value: Any) -> Export | None:
    """An export as the engine's answers hold it, its message as bytes; None when there is none."""
    if not isinstance(value, list | Mapping) or not value:
        return None
    try:
        return msgspec.convert(value, Export)
    except msgspec.ValidationError:
        return None


class Speaker:
    """Says causes, and audiences by their names.

    Args:
        t: The texts.
        names: Audience id to name, of those that are defined here.
    """

    def __init__(self, t: Texts, names: Mapping[str, str]) -> None:
        self._t = t
        self._names = names

    def __call__(self, value: Any) -> str:
        """A cause of the engine's answers in one line, with names."""
        return words(cause_of(value), self._t, self._names)

    def whole(self, value: Any) -> str:
        """The same with every name, for where it stands alone."""
        return words(cause_of(value), self._t, self._names, most=None)

    def ids(self, value: Any) -> str:
        """All of it with ids, for the title of what shows names."""
        return words(cause_of(value), self._t, most=None)

    def audience(self, text: str) -> str:
        """The name of ``namespace/id``; the text itself where it is not defined here."""
        return self._names.get(text.partition("/")[2], text)


def words(
    cause: Cause | None, t: Texts, names: Mapping[str, str] = MappingProxyType({}), *, most: int | None = _MOST_NAMES
) -> str:  # fmt: skip
    """Why an export was made, in one line: ``entered Gold customers · changed person.name``.

    Args:
        cause: Its audiences are ``namespace/id``.
        t: The texts.
        names: Audience id to name; an audience that has none is shown as it is.
        most: Audiences, or paths, that are named; how many more there are is said. All when None.
    """
    if cause is None:
        return t("cause.unknown")
    parts = [] if cause.kind == "live" else [t.known(f"cause.{cause.kind}", cause.kind)]
    joined, left = ([names.get(each.partition("/")[2], each) for each in ids] for ids in (cause.joined, cause.left))
    for key, found in (("joined", joined), ("left", left), ("paths", cause.paths)):
        if found:
            more = f" +{len(found) - most}" if most is not None and len(found) > most else ""
            parts.append(t(f"cause.{key}", names=", ".join(found[:most])) + more)
    if "identity" in cause.triggers:
        parts.append(t("cause.identity"))
    if "consent" in cause.triggers:
        parts.append(t("cause.consent"))
    if cause.absorbed:
        parts.append(t("cause.absorbed", count=len(cause.absorbed)))
    return " · ".join(parts) or t.known(f"cause.{cause.kind}", cause.kind)
