"""Tell channels of alerts, each from a thread of its own: a slow one delays neither the engine nor another one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Final

from headrace import logs
from headrace.alerts.book import Book
from headrace.alerts.channels import Channel, Notice
from headrace.clock import Clock
from headrace.errors import AlertError

_FIRST_WAIT_S: Final = 1.0
_MOST_WAIT_S: Final = 300.0
GIVE_UP_MS: Final = 24 * 3_600_000
"""A notice that no channel took within a day says nothing any more."""

_CLOSE_S: Final = 3.0


class Teller:
    """One channel's thread.

    Args:
        channel: Whom it tells.
        book: Where what it has not taken is kept.
        clock: Time.
        first_wait_s: Pause before the first repetition; doubles up to 5 minutes.
    """

    def __init__(self, channel: Channel, book: Book, clock: Clock, first_wait_s: float = _FIRST_WAIT_S) -> None:
        self._channel, self._book, self._clock, self._first_wait_s = channel, book, clock, first_wait_s
        self._queue: deque[Notice] = deque(book.waiting(channel.name))
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._work, name=f"alerts to {channel.name}", daemon=True)

    @property
    def name(self) -> str:
        """The channel's name."""
        return self._channel.name

    def start(self) -> None:
        """Begin, with what a former process could not tell."""
        self._thread.start()

    def tell(self, notices: Sequence[Notice]) -> None:
        """Tell of these too; returns at once."""
        with self._changed:
            self._queue.extend(notices)
            self._changed.notify()

    def close(self) -> None:
        """Stop within about 3 s; what was not told is told by the next process."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join(_CLOSE_S)

    def _work(self) -> None:
        failures = 0
        while (notice := self._next()) is not None:
            try:
                self._channel.send(notice)
            except AlertError as error:
                failures += 1
                if failures == 1:
                    logs.get(channel=self.name).warning(
                        "an alert was not told; it is tried again", problem=str(error)
                    )
                if self._clock.now_ms() - _made_ms(notice) < GIVE_UP_MS:
                    if self._pause(min(_MOST_WAIT_S, self._first_wait_s * 2.0 ** min(failures - 1, 16))):
                        continue
                    return
                logs.get(channel=self.name, alert=notice.alert.kind).error("an alert was never told: given up")
            else:
                failures = 0
            with self._changed:
                self._queue.popleft()
            self._book.told(self.name, notice)

    def _next(self) -> Notice | None:
        """The oldest notice, which stays in the queue until it is taken; None at the end."""
        with self._changed:
            while not self._queue and not self._ended:
                self._changed.wait()
            return self._queue[0] if self._queue else None

    def _pause(self, seconds: float) -> bool:
        """Wait before another try; False when it is time to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended, seconds)
            return not self._ended


def _made_ms(notice: Notice) -> int:
    return notice.alert.since_ms if notice.alert.until_ms is None else notice.alert.until_ms


class Desk:
    """Rules' answers in, notices out.

    Args:
        book: Keeps alerts.
        channels: Who is told.
        clock: Time.
        first_wait_s: See ``Teller``.
    """

    def __init__(
        self, book: Book, channels: Sequence[Channel], clock: Clock, first_wait_s: float = _FIRST_WAIT_S
    ) -> None:  # fmt: skip
        self._book = book
        self._tellers = [Teller(channel, book, clock, first_wait_s) for channel in channels]
        self.names = [teller.name for teller in self._tellers]

    def start(self) -> None:
        """Begin, with what a former process could not tell."""
        for teller in self._tellers:
            teller.start()

    def tell(self, notices: Sequence[Notice]) -> None:
        """Tell every channel; returns at once. They are in the book already."""
        for teller in self._tellers:
            teller.tell(notices)

    def close(self) -> None:
        """See ``Teller.close``."""
        for teller in self._tellers:
            teller.close()
