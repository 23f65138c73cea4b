"""A text that is never shown."""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """A text that no repr, log line, error, JSON or pickle shows; only ``reveal`` gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself, for whoever sends it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(Secret)  # tells nothing of the text

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not serialised")
