"""Inputs that parts of the engine submit beside the sources' updates, until they are decided."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from headrace.runtimes.embedded.decision import Command


class Commands:
    """See the module.

    Args:
        wake: Wakes the loop.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._commands: deque[Command] = deque()
        self._carried: dict[int, asyncio.Future[None]] = {}
        """What waits for a command to be decided, by the command's identity."""

    @property
    def waiting(self) -> bool:
        """True while some are not taken."""
        return bool(self._commands)

    def submit(self, command: Command) -> None:
        """Put an input beside the sources' (a backfill step, a deletion); decided in the next batch."""
        self._commands.append(command)
        self._wake()

    async def carry_out(self, command: Command) -> None:
        """Put an input beside the sources', and return once it is decided and durable."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._carried[id(command)] = done
        self.submit(command)
        await done

    def take(self, most: int) -> list[Command]:
        """The next ones, up to *most*."""
        return [self._commands.popleft() for _ in range(min(len(self._commands), most))]

    def durable(self, commands: Sequence[Command]) -> None:
        """These are decided, and the decision is on disk."""
        for command in commands:
            awaited = self._carried.pop(id(command), None)
            if awaited is not None and not awaited.done():
                awaited.set_result(None)
