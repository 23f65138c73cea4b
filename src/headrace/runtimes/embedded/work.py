"""What the parts of an engine tell its loop: there is work, a part has failed, the engine is to stop."""

from __future__ import annotations

import asyncio

from headrace.clock import Clock


class Work:
    """See the module.

    Attributes:
        stopping: Nothing new is begun.
    """

    def __init__(self) -> None:
        self._woken = asyncio.Event()
        self._failure: BaseException | None = None
        self.stopping = False

    def wake(self) -> None:
        """Something is there to be done."""
        self._woken.set()

    async def wait(self) -> None:
        """Until something is there to be done that was not when this was called."""
        self._woken.clear()
        await self._woken.wait()

    async def wait_at_most(self, seconds: float, clock: Clock) -> None:
        """The same, for so long at the most."""
        self._woken.clear()
        timer = asyncio.create_task(clock.sleep(seconds))
        woken = asyncio.create_task(self._woken.wait())
        await asyncio.wait((timer, woken), return_when=asyncio.FIRST_COMPLETED)
        timer.cancel()
        woken.cancel()

    def failed(self, error: BaseException) -> None:
        """A part cannot go on. The first failure is the one that is told."""
        if self._failure is None:
            self._failure = error
            self._woken.set()

    def watch(self, task: asyncio.Task[None]) -> None:
        """A part that dies takes the engine down: going on without it would hide it."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed(error)

    def raise_failure(self) -> None:
        """Raise what a part has failed with."""
        if self._failure is not None:
            raise self._failure
