"""Where the bytes of JSON Lines come from: a file, followed or not, or a pipe; gzip is seen by its first bytes.

``take`` gives the next uncompressed block, or nothing when there is nothing now. A file is read in a worker
thread, since a disk may be slow; a pipe only once the loop says that it is readable, so that no thread is
ever stuck in it.
"""

from __future__ import annotations

import asyncio
import os
import stat
from enum import Enum
from typing import Final, Protocol

from headrace.errors import SourceUnreadableError
from headrace.sources.inflate import MAGIC, BadGzipError, Inflater

_RECENT_BYTES: Final = 4_096
_PIPE_BYTES: Final = 262_144


class Change(Enum):
    """What became of a file that is followed."""

    NONE = "none"
    REPLACED = "replaced"
    REWRITTEN = "rewritten"


class Blocks(Protocol):
    """Blocks of bytes in order."""

    async def take(self) -> bytes:
        """The next block, or empty when there is nothing now; for a pipe that is the end."""
        ...

    def unfinished(self) -> bool:
        """What was read so far ends in the middle of a gzip member."""
        ...

    def progress(self) -> tuple[int, int | None]:
        """Bytes read of the bytes there are, both as they lie there; None where unknown."""
        ...

    def close(self) -> None:
        """Let go; may be called twice."""
        ...


class _Unpacked:
    """Plain or gzip, by the first two bytes."""

    def __init__(self, name: str, block_bytes: int) -> None:
        self._name = name
        self._block_bytes = block_bytes
        self._inflater: Inflater | None = None
        self._first: bytes | None = b""

    def put(self, raw: bytes, *, last: bool = False) -> bytes:
        """Add *raw*; what is known to be content comes back."""
        if self._first is not None:
            self._first += raw
            if len(self._first) < len(MAGIC) and MAGIC.startswith(self._first) and not last:
                return b""
            raw, self._first = self._first, None
            if raw.startswith(MAGIC):
                self._inflater = Inflater()
        if self._inflater is None:
            return raw
        self._inflater.feed(raw)
        return self.rest()

    def rest(self) -> bytes:
        """Content of what was added before."""
        if self._inflater is None:
            return b""
        try:
            return self._inflater.take(self._block_bytes)
        except BadGzipError as error:
            problem = f"the gzip data is damaged ({error}); the lines before were read; give the whole file"
            raise SourceUnreadableError(source=self._name, problem=problem) from None

    @property
    def unfinished(self) -> bool:
        return self._inflater is not None and self._inflater.unfinished


class FileBlocks:
    """A regular file.

    Args:
        path: Where it is.
        block_bytes: The most one ``take`` gives.
        follow: The end of the file may not be the last word.

    Raises:
        SourceUnreadableError: It cannot be opened.
    """

    def __init__(self, path: str, block_bytes: int, *, follow: bool) -> None:
        self._follow = follow
        self._path = path
        self._block_bytes = block_bytes
        self._fd = _open(path)
        self._at = 0  # of the raw bytes
        self._recent = b""  # the raw bytes before, to see a file that was rewritten in place
        self._content = _Unpacked(path, block_bytes)
        self._met_end = False
        self._rewritten = False

    def packed(self) -> bool:
        """It is gzip; asked before the first ``take``."""
        return os.pread(self._fd, len(MAGIC), 0) == MAGIC

    def window(self, start: int, stop: int) -> bytes:
        """Raw bytes of [start, stop), as many as there are."""
        pieces: list[bytes] = []
        while start < stop and (piece := os.pread(self._fd, stop - start, start)):
            pieces.append(piece)
            start += len(piece)
        return b"".join(pieces)

    def seek(self, offset: int) -> None:
        """Go on at *offset* of a plain file."""
        if offset:
            self._content.put(self.window(0, len(MAGIC)), last=True)
            self._recent = self.window(max(0, offset - _RECENT_BYTES), offset)
            self._at = offset

    async def take(self) -> bytes:
        """See ``Blocks``."""
        return await asyncio.get_running_loop().run_in_executor(None, self.take_now)

    def take_now(self) -> bytes:
        """The same, in this thread."""
        while not (content := self._content.rest()):
            raw = self._read()
            content = self._content.put(raw, last=not raw and not self._follow)
            if content or not raw:
                break
        return content

    def _read(self) -> bytes:
        """Raw bytes; after the end was met, only if what lies before them is still the same."""
        back = len(self._recent) if self._met_end else 0
        try:
            raw = os.pread(self._fd, back + self._block_bytes, self._at - back)
        except OSError as error:
            raise _unreadable(self._path, error) from None
        if back and not raw.startswith(self._recent):
            self._rewritten = True
            return b""
        raw = raw[back:] if back else raw
        self._at += len(raw)
        self._recent = (self._recent + raw[-_RECENT_BYTES:])[-_RECENT_BYTES:]
        self._met_end = not raw
        return raw

    def change(self) -> Change:
        """What became of the file, asked when ``take`` gave nothing."""
        if self._rewritten:
            return Change.REWRITTEN
        found = os.fstat(self._fd)
        try:
            named = os.stat(self._path)
        except OSError:
            return Change.NONE  # moved away, and its successor is not there yet
        if (named.st_dev, named.st_ino) != (found.st_dev, found.st_ino):
            return Change.REPLACED
        return Change.NONE

    def unfinished(self) -> bool:
        """See ``Blocks``."""
        return self._content.unfinished

    def progress(self) -> tuple[int, int | None]:
        """See ``Blocks``."""
        return self._at, max(self._at, os.fstat(self._fd).st_size) if self._fd >= 0 else self._at

    def close(self) -> None:
        """See ``Blocks``."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class PipeBlocks:
    """Standard input, or a named pipe: read once, from where it is, to its end.

    Args:
        name: What to call it in words.
        fd: An open file descriptor.
        block_bytes: The most one ``take`` gives.
        owned: ``close`` closes the descriptor.
    """

    def __init__(self, name: str, fd: int, block_bytes: int, *, owned: bool) -> None:
        self._name = name
        self._fd = fd
        self._block_bytes = block_bytes
        self._owned = owned
        self._content = _Unpacked(name, block_bytes)
        self._at = 0
        kind = os.fstat(fd).st_mode
        self._waits = not (stat.S_ISREG(kind) or stat.S_ISBLK(kind))
        self._ready: asyncio.Future[None] | None = None
        self._closed = False

    async def take(self) -> bytes:
        """See ``Blocks``."""
        content = self._content.rest()
        while not content and not self._closed:
            if self._waits and not await self._readable():
                break
            try:
                raw = os.read(self._fd, min(self._block_bytes, _PIPE_BYTES))
            except BlockingIOError:
                continue
            except OSError as error:
                raise _unreadable(self._name, error) from None
            self._at += len(raw)
            content = self._content.put(raw, last=not raw)
            if not raw:
                break
        return content

    async def _readable(self) -> bool:
        """Wait until there is something to read, or the end; False when closed meanwhile."""
        loop = asyncio.get_running_loop()
        ready = self._ready = loop.create_future()

        def wake() -> None:
            if not ready.done():
                ready.set_result(None)

        loop.add_reader(self._fd, wake)
        try:
            await ready
        finally:
            loop.remove_reader(self._fd)
            self._ready = None
        return not self._closed

    def unfinished(self) -> bool:
        """See ``Blocks``."""
        return self._content.unfinished

    def progress(self) -> tuple[int, int | None]:
        """See ``Blocks``."""
        return self._at, None

    def close(self) -> None:
        """See ``Blocks``."""
        if self._closed:
            return
        self._closed = True
        if self._ready is not None:
            self._ready.get_loop().remove_reader(self._fd)
            if not self._ready.done():
                self._ready.set_result(None)
        if self._owned:
            os.close(self._fd)


def _unreadable(name: str, error: OSError) -> SourceUnreadableError:
    problem = f"cannot be read: {error.strerror or error}; give a file that exists and may be read, or - for stdin"
    return SourceUnreadableError(source=name, problem=problem)


def _open(path: str) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe's other end is not waited for
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            os.close(fd)
            raise IsADirectoryError(21, "Is a directory")
    except OSError as error:
        raise _unreadable(path, error) from None
    return fd


def opened(path: str, block_bytes: int, *, follow: bool) -> FileBlocks | PipeBlocks:
    """The blocks of *path*, whatever it is; ``-`` is standard input.

    Raises:
        SourceUnreadableError: It cannot be opened.
    """
    if path == "-":
        return PipeBlocks("stdin", 0, block_bytes, owned=False)
    try:
        regular = stat.S_ISREG(os.stat(path).st_mode) or stat.S_ISDIR(os.stat(path).st_mode)
    except OSError as error:
        raise _unreadable(path, error) from None
    if regular:
        return FileBlocks(path, block_bytes, follow=follow)
    return PipeBlocks(path, _open(path), block_bytes, owned=True)
