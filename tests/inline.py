"""In place of the loop's threads: what they are given is done by the loop itself, some turns later.

No time of the machine passes then, so that a time that is moved by hand cannot run ahead of the disk.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import Any


class Inline(concurrent.futures.ThreadPoolExecutor):
    """The default executor of a loop: ``loop.set_default_executor(Inline())``.

    Args:
        turns: Gives the turns of the loop that the next thing takes; it happens in the last of them.
    """

    def __init__(self, turns: Callable[[], int] = lambda: 0) -> None:
        super().__init__(max_workers=1)
        self._turns = turns

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        done: concurrent.futures.Future[Any] = concurrent.futures.Future()
        loop = asyncio.get_running_loop()

        def turn(left: int) -> None:
            if done.cancelled():
                return
            if left:
                loop.call_soon(turn, left - 1)
                return
            try:
                done.set_result(fn(*args, **kwargs))
            except Exception as error:  # noqa: BLE001 - whoever waits for it raises it
                done.set_exception(error)

        turn(self._turns())
        return done
