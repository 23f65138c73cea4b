"""The engine of a data folder as the control plane sees it; see ``headrace.control.runtime``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from headrace.errors import StateError
from headrace.runtimes import socket


class SocketRuntime:
    """Asks over the socket in the data folder.

    Args:
        folder: The data folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def ask(self, request: str, **arguments: Any) -> Any:
        """See ``Runtime``."""
        answer = socket.ask(self._folder, request, **arguments)
        if answer is None:
            raise StateError(f"no engine runs on the data folder {self._folder}; start: headrace serve")
        return answer.value

    def follow(self, **arguments: Any) -> AsyncIterator[dict[str, Any]]:
        """See ``Runtime``."""
        return socket.follow(self._folder, "follow", **arguments)
