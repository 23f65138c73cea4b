"""The list of alerts, open and over, and what was not told yet: one file in the data folder, replaced whole.

A file of its own, so that alerts about the disk's state do not depend on the engine's commits, and so that they can
be read without the engine.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final

import msgspec

from headrace import logs
from headrace.alerts.channels import Notice
from headrace.alerts.rules import Alert, Memory

NAME: Final = "alerts.json"
KEPT: Final = 1000
"""Alerts that are over and still listed."""

_WAITING: Final = 1000
"""Notices that wait for a channel; of more, the oldest are given up."""


class _Page(msgspec.Struct, kw_only=True):
    """What the file holds.

    Attributes:
        format: Of the file.
        memory: What the rules remember; open alerts are in it.
        over: Alerts that are over, the newest last.
        waiting: Channel to the notices that it has not taken, the oldest first.
    """

    format: int = 1
    memory: Memory = msgspec.field(default_factory=Memory)
    over: list[Alert] = []
    waiting: dict[str, list[Notice]] = {}


class Book:
    """Keeps the file; all methods may be called from any thread.

    Args:
        folder: The data folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._lock = threading.Lock()
        self._page = _read(self._path)

    @property
    def memory(self) -> Memory:
        """What the rules remembered last."""
        return self._page.memory

    def waiting(self, channel: str) -> list[Notice]:
        """What a channel has not taken, the oldest first."""
        with self._lock:
            return list(self._page.waiting.get(channel, ()))

    def record(self, memory: Memory, over: list[Alert], notices: list[Notice], channels: list[str]) -> None:
        """Keep what a look came to, and for each channel what is to be told."""
        with self._lock:
            page = self._page
            page.memory = memory
            page.over = [*page.over, *over][-KEPT:]
            for channel in channels:
                page.waiting[channel] = [*page.waiting.get(channel, ()), *notices][-_WAITING:]
            self._write()

    def told(self, channel: str, notice: Notice) -> None:
        """A channel has taken a notice, or it was given up."""
        with self._lock:
            waiting = self._page.waiting
            waiting[channel] = [each for each in waiting.get(channel, ()) if each.id != notice.id]
            if not waiting[channel]:
                del waiting[channel]
            self._write()

    def _write(self) -> None:
        new = self._path.with_suffix(".new")
        try:
            handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(handle, "wb") as file:
                file.write(msgspec.json.encode(self._page))
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
        except OSError as error:
            logs.get().warning("the list of alerts cannot be kept", file=str(self._path), problem=error.strerror)


def _read(path: Path) -> _Page:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Page)
    except FileNotFoundError:
        return _Page()
    except (OSError, msgspec.MsgspecError) as error:
        logs.get().warning("the list of alerts cannot be read and begins anew", file=str(path), problem=str(error))
        return _Page()


def listed(folder: Path, state: str, limit: int) -> list[Alert]:
    """Alerts as they are shown: open ones, or all; the newest first.

    Args:
        folder: The data folder.
        state: open or all.
        limit: At most so many.
    """
    page = _read(folder / NAME)
    found = [*page.memory.open, *(page.over if state == "all" else ())]
    return sorted(found, key=lambda alert: alert.since_ms, reverse=True)[:limit]
