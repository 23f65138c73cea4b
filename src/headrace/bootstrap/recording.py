"""Ask the engine now and then what its flows did, and put it down as runs."""

from __future__ import annotations

import threading
from typing import Final

import sqlalchemy as sa

from headrace import logs
from headrace.clock import System
from headrace.control.hourly import Recorder
from headrace.control.runs import HOUR_MS
from headrace.control.runtime import Runtime
from headrace.errors import RefusedError, StateError

_LOOK_S: Final = 30.0
_AFTER_S: Final = 0.5
"""After the full hour, which the engine closes first."""


class Recording:
    """Looks at the engine every half minute and after each full hour.

    Args:
        runtime: The engine.
        recorder: Puts down what it says.
    """

    def __init__(self, runtime: Runtime, recorder: Recorder) -> None:
        self._runtime = runtime
        self._recorder = recorder
        self._ended = threading.Event()
        self._problem = ""
        self._clock = System()
        self._thread = threading.Thread(target=self._work, name="runs", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """Look a last time, and stop."""
        self._ended.set()
        self._thread.join(_LOOK_S)

    def _work(self) -> None:
        while True:
            to_hour_s = (HOUR_MS - self._clock.now_ms() % HOUR_MS) / 1000 + _AFTER_S
            ended = self._ended.wait(min(_LOOK_S, to_hour_s))
            self.look()
            if ended:
                return

    def look(self) -> None:
        """Look now; a trouble is logged once, and the next look makes up for it."""
        try:
            self._recorder.look(self._runtime.ask("hours"))
        except (RefusedError, StateError, sa.exc.SQLAlchemyError) as error:
            kind = type(error).__name__
            if kind != self._problem:
                self._problem = kind
                text = str(error) if isinstance(error, RefusedError | StateError) else kind
                logs.get().warning("runs are not put down; the next look makes up for it", problem=text)
        else:
            self._problem = ""
