"""JSON Lines: one update a line, from a file, a gzip file, a file that grows, or standard input."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

from headrace import clock as clocks
from headrace.core.model import MAX_UPDATE_BYTES
from headrace.errors import SourceChangedError, SourceUnreadableError
from headrace.sources.base import Batch, Refused
from headrace.sources.blocks import Change, FileBlocks, PipeBlocks, opened
from headrace.sources.lines import NONE, Lines, Splitter, refused_between
from headrace.sources.trail import FIRST_BYTES, FORMAT, LAST_BYTES, Mark, Trail

BLOCK_BYTES: Final = 1_048_576


def _done(refused: Sequence[Refused]) -> None:
    """A file's position is kept with the effects, so there is nobody to tell."""


class JsonLines:
    r"""A source of JSON Lines (contract: ``sources/base.py``).

    A line is ended by ``\n`` or ``\r\n``; blank lines are skipped; a UTF-8 byte order mark at the beginning is
    taken off. The last line needs no end. A file resumes after the last committed batch, by its uncompressed
    offset and a fingerprint of what was read (``sources/trail.py``); a pipe does not resume.

    With *follow* the end of the file is not the end of the source, as with ``tail -F``:
        - an unfinished last line waits for its end; when the source is closed before, it was not read;
        - a file that has been replaced (rotation) is read to its end, then its successor from the start;
        - a file that has been cut or rewritten in place is read again from the start;
        - a line left unfinished by either is delivered as it is;
        - a path that is missing, while running, is waited for.

    Args:
        path: A file, a named pipe, or ``-`` for standard input.
        follow: Wait for more at the end; of no effect on a pipe.
        start: Where to start: ``resume`` after the position given to ``open``, from the ``start`` as if it were a
            new file, or at the ``end`` of what the file holds now.
        max_line_bytes: A longer line is refused, not kept; its end is not counted.
        block_bytes: Bytes read at once. The source holds no more than about four of these, one line
            of *max_line_bytes* and a mebibyte.
        poll_s: Seconds between two looks at a file that is followed.
        clock: What to wait on.
    """

    def __init__(
        self,
        path: str,
        *,
        follow: bool = False,
        start: Literal["resume", "start", "end"] = "resume",
        max_line_bytes: int = MAX_UPDATE_BYTES,
        block_bytes: int = BLOCK_BYTES,
        poll_s: float = 0.1,
        clock: clocks.Clock | None = None,
    ) -> None:
        self.path = "-" if path == "-" else os.path.abspath(path)
        self.id = "stdin" if path == "-" else f"jsonl:{self.path}"
        self._name = "stdin" if path == "-" else os.path.basename(self.path)
        self._follow = follow
        self._start = start
        self._limit = max_line_bytes
        self._block_bytes = block_bytes
        self._poll_s = poll_s
        self._clock: clocks.Clock = clock or clocks.System()
        self._blocks: FileBlocks | PipeBlocks | None = None
        self._pending: asyncio.Future[bytes] | None = None
        self._closed = asyncio.Event()
        self._begin()

    def _begin(self, offset: int = 0, finished: int = 0, trail: Trail | None = None) -> None:
        self._trail = trail or Trail()
        self._splitter = Splitter(self._limit, offset, finished)
        self._lines = NONE
        self._taken = 0  # of the lines
        self._offset = offset  # after the last line given
        self._finished = finished
        self._leaving = False  # the file was replaced; what is left of it comes first
        self._end: Literal["no", "next", "end"] = "no"  # what follows the lines at hand

    async def open(self, position: bytes | None) -> None:
        """See ``Source``.

        Raises:
            SourceChangedError: What was read before is no longer there.
            SourceUnreadableError: There is no such file, it may not be read, or the position is not one.
        """
        self._blocks = opened(self.path, self._block_bytes, follow=self._follow)
        if isinstance(self._blocks, PipeBlocks):
            self._follow = False
        elif self._start == "end":
            await self._skip_all(self._blocks)
        elif self._start == "resume" and position is not None:
            try:
                mark = msgspec.json.decode(position, type=Mark)
            except msgspec.DecodeError:
                mark = None
            if mark is None or mark.format != FORMAT:
                problem = "its position was written by another version; read it with --from-start or --from-end"
                raise SourceUnreadableError(source=self.path, problem=problem)
            await self._skip_to(self._blocks, mark, position)

    async def _skip_to(self, blocks: FileBlocks, mark: Mark, position: bytes) -> None:
        """Go to where *mark* is, and see that what lies before it is what it was."""
        rest = b""
        if blocks.packed():
            trail = Trail()
            while trail.end < mark.offset and (block := await blocks.take()):
                inside = mark.offset - trail.end
                trail.add(block[:inside])
                rest = block[inside:]
            if trail.end < mark.offset:
                raise SourceChangedError(path=self.path, offset=mark.offset)
        else:
            first = blocks.window(0, min(mark.offset, FIRST_BYTES))
            last = blocks.window(max(0, mark.offset - LAST_BYTES), mark.offset)
            trail = Trail.resumed(mark.offset, first, last)
            blocks.seek(mark.offset)
        if trail.mark(mark.offset, mark.lines) != position:
            raise SourceChangedError(path=self.path, offset=mark.offset)
        self._begin(mark.offset, mark.lines, trail)
        if rest:
            self._add(rest)

    async def _skip_all(self, blocks: FileBlocks) -> None:
        """Go to the end of what is there; in follow mode to the beginning of the line not yet finished."""
        while block := await blocks.take():
            self._add(block)
            if self._lines.bodies:
                last = len(self._lines.bodies) - 1
                self._finished, self._offset = self._lines.finished(last), self._lines.end(last)
        if not self._follow and (rest := self._splitter.end()).bodies:
            self._finished, self._offset = rest.finished(0), rest.end(0)
        self._lines = NONE

    def position(self) -> bytes | None:
        """The position after what was given so far.

        Asked after ``open``, it is where ``start="end"`` begins, to be kept even if nothing follows.
        None for a pipe, and where an unfinished line fills more than a block.
        """
        if isinstance(self._blocks, PipeBlocks):
            return None
        return self._trail.mark(self._offset, self._finished)

    async def read(self, most: int) -> Batch | None:
        """See ``Source``. May be cancelled: nothing is lost.

        Raises:
            SourceUnreadableError: The disk refused, or gzip data is damaged or cut off; what came before was given.
        """
        while self._taken >= len(self._lines.bodies):
            if self._closed.is_set() or not await self._fill():
                return None
        start = self._taken
        stop = self._taken = min(start + most, len(self._lines.bodies))
        lines = self._lines
        self._offset = lines.end(stop - 1, start, self._offset)
        self._finished = lines.finished(stop - 1)
        return Batch(
            source=self.id,
            bodies=lines.bodies if stop - start == len(lines.bodies) else lines.bodies[start:stop],
            place=self._places(lines, start),
            position=self.position(),
            acknowledge=_done,
            refused=refused_between(lines.refused, start, stop),
        )

    def _places(self, lines: Lines, start: int) -> Callable[[int], str]:
        name = self._name

        def place(index: int) -> str:
            return f"{name} line {lines.number(start + index)}"

        return place

    async def _fill(self) -> bool:
        """Bring the next lines, perhaps none; False at the end."""
        if self._end == "end":
            return False
        if self._end == "next" and not self._reopen():
            await self._wait()
            return True
        block = await self._take()
        if self._closed.is_set() or self._blocks is None:
            return False
        if block:
            self._add(block)
            return True
        change = Change.NONE
        if self._follow and isinstance(self._blocks, FileBlocks) and not self._leaving:
            change = self._blocks.change()
            if change is Change.NONE:
                await self._wait()
                return True
            if change is Change.REPLACED:
                self._leaving = True  # its writer may have added lines since we looked
                return True
        if self._blocks.unfinished() and change is Change.NONE:
            problem = "the gzip data is cut off; the whole lines before were read; give the whole file"
            raise SourceUnreadableError(source=self.path, problem=problem)
        self._lines, self._taken = self._splitter.end(), 0
        self._end = "next" if self._follow else "end"
        return True

    def _add(self, block: bytes) -> None:
        self._trail.add(block)
        self._lines, self._taken = self._splitter.feed(block), 0
        if self._lines.bodies:
            self._offset = self._lines.start

    def _reopen(self) -> bool:
        """Begin with the file's successor; False while there is none."""
        if not os.path.exists(self.path):
            return False
        successor = FileBlocks(self.path, self._block_bytes, follow=True)
        assert self._blocks is not None
        self._blocks.close()
        self._blocks = successor
        self._begin()
        return True

    async def _take(self) -> bytes:
        """The next block; when cancelled meanwhile, the block is there for the next call."""
        assert self._blocks is not None
        if self._pending is None:
            self._pending = asyncio.ensure_future(self._blocks.take())
        block = await asyncio.shield(self._pending)
        self._pending = None
        return block

    async def _wait(self) -> None:
        """Until it is time to look again, or the source is closed."""
        turns = [asyncio.ensure_future(self._clock.sleep(self._poll_s)), asyncio.ensure_future(self._closed.wait())]
        try:
            await asyncio.wait(turns, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for turn in turns:
                turn.cancel()

    async def close(self) -> None:
        """See ``Source``."""
        self._closed.set()
        if isinstance(self._blocks, PipeBlocks):
            self._blocks.close()
        if self._pending is not None:
            with contextlib.suppress(SourceUnreadableError):
                await self._pending
        if self._blocks is not None:
            self._blocks.close()

    def progress(self) -> tuple[int, int | None]:
        """Bytes read of the bytes there are: compressed ones for gzip, None where unknown."""
        return (0, None) if self._blocks is None else self._blocks.progress()
