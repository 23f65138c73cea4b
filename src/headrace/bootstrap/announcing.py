"""Tell the engine of changes: at once, and never in the way of whoever made them."""

from __future__ import annotations

import threading
from typing import Final

from headrace import logs
from headrace.control.resources import Scope
from headrace.control.runtime import Runtime
from headrace.errors import RefusedError, StateError

_AGAIN_S: Final = 1.0


class Announcer:
    """Asks the engine to look at the database after each change; several changes may be one question.

    Args:
        runtime: The engine.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._changed = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="announce", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def changed(self, _scope: Scope) -> None:
        """Something was changed; returns at once."""
        self._changed.set()

    def end(self) -> None:
        """Stop; what was not told is found by the engine's own looking."""
        self._ended = True
        self._changed.set()
        self._thread.join(_AGAIN_S)

    def _work(self) -> None:
        while not self._ended:
            self._changed.wait()
            self._changed.clear()
            if not self._ended:
                self._tell()

    def _tell(self) -> None:
        try:
            self._runtime.ask("configure")
        except RefusedError:
            pass  # the engine has logged what is wrong
        except StateError as error:
            logs.get().warning("the engine was not told of a change; it looks by itself", problem=str(error))
