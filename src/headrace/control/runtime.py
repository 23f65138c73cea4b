"""The engine as the control plane sees it: questions over the socket of the data folder, answered as JSON values."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol


class Runtime(Protocol):
    """Asks the engine; each question is one of ``headrace.bootstrap.answers``."""

    def ask(self, request: str, **arguments: Any) -> Any:
        """The answer, as decoded JSON. Blocks; call it from a thread of a web server's pool.

        Raises:
            RefusedError: The request is wrong, with what to do.
            StateError: The engine is not there, or did not answer.
        """

    def follow(self, **arguments: Any) -> AsyncIterator[dict[str, Any]]:
        """What settles from now on, one object an export, until closed; slow readers miss some, which is said.

        Raises:
            StateError: The engine is not there.
        """
