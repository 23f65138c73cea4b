"""Hide the values of profiles in what is shown: the shape stays, so that one sees that something is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

DOTS: Final = "•••"
_OPEN: Final = frozenset({"segmentMembership", "_headrace"})
"""Parts of a message that hold no values of a person: memberships, and what Headrace adds."""


def masked(value: Any) -> Any:
    """The value with every text and number hidden; a text shows its first character, so that two differ."""
    if isinstance(value, Mapping):
        return {name: masked(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [masked(each) for each in value]
    if isinstance(value, str):
        return f"{value[:1]}{DOTS}" if len(value) > 3 else DOTS
    if isinstance(value, bool) or value is None:
        return value
    return DOTS


def masked_message(message: Any) -> Any:
    """A message with attributes and identities hidden, memberships as they are."""
    if not isinstance(message, Mapping):
        return masked(message)
    return {name: each if name in _OPEN else masked(each) for name, each in message.items()}
