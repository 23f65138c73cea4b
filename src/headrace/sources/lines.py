"""Cut blocks of bytes into lines, and know for each where it ends and which line it is. Pure.

The fast path costs no Python loop per line: ``BytesIO.readlines`` finds the line ends, and only the
extremes of a block are looked at. A block with a blank line, a line over the limit or a byte order mark
takes the slow path, line by line.

A body keeps its line end (white space is allowed around a JSON text); copying it away would cost more
than finding it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final

from headrace.sources.base import Refused

HEAD_BYTES: Final = 65_536
"""Bytes kept of a line over the limit."""

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_UNCOUNTED_BYTES: Final = len(BYTE_ORDER_MARK) + len(b"\r\n")
"""Bytes at a line's two ends that do not count to its size."""


class Lines:
    """Lines of one block.

    Attributes:
        bodies: The lines that are not blank.
        refused: Those of them over the limit, by index.
        start: Where the first line begins, unless some are left out.
    """

    __slots__ = ("_ends", "_first", "_numbers", "_open", "bodies", "refused", "start")

    def __init__(
        self,
        bodies: list[bytes],
        start: int,
        first: int,
        *,
        ends: list[int] | None = None,
        numbers: list[int] | None = None,
        refused: dict[int, Refused] | None = None,
        unfinished: bool = False,
    ) -> None:
        self.bodies = bodies
        self.refused: dict[int, Refused] = refused or {}
        self.start = start
        self._first = first
        self._ends = ends
        self._numbers = numbers
        self._open = unfinished

    def end(self, index: int, since: int = 0, offset: int | None = None) -> int:
        """The offset just after line *index*, in bytes of the whole input.

        Args:
            index: The line.
            since: A line whose beginning is known.
            offset: That beginning; the beginning of all the lines by default.
        """
        if self._ends is not None:
            return self._ends[index]
        return (self.start if offset is None else offset) + sum(map(len, self.bodies[since : index + 1]))

    def number(self, index: int) -> int:
        """Which line of the input it is, from 1; blank lines count."""
        return self._first + index if self._numbers is None else self._numbers[index]

    def finished(self, index: int) -> int:
        """How many line ends lie before the end of line *index*."""
        return self.number(index) - (1 if self._open and index == len(self.bodies) - 1 else 0)


NONE: Final = Lines([], 0, 1)


class Splitter:
    """Takes blocks and gives lines; keeps an unfinished line for the next block, within bounds.

    Args:
        limit_bytes: A line longer than this, its end not counted, is refused; of such a line no more
            than HEAD_BYTES are kept.
        offset: Where the first block begins.
        finished: How many line ends lie before it.
    """

    def __init__(self, limit_bytes: int, offset: int = 0, finished: int = 0) -> None:
        self._limit = limit_bytes
        self._head = min(HEAD_BYTES, limit_bytes)
        self._offset = offset  # of the first line not yet given
        self._finished = finished
        self._held: list[bytes] = []
        self._held_bytes = 0  # its true size, also where only the head is kept
        self._cut_short = False

    def feed(self, block: bytes) -> Lines:
        """The lines that end in *block*."""
        lines = io.BytesIO(block).readlines()
        rest = b"" if block.endswith(b"\n") else lines.pop()
        if not lines:
            self._hold(rest)
            return NONE
        size = self._held_bytes + len(lines[0])
        start, first, cut_short = self._offset, self._finished + 1, self._cut_short
        self._offset += self._held_bytes + len(block) - len(rest)
        self._finished += len(lines)
        if self._held:
            lines[0] = b"".join((*self._held, lines[0]))
        if start == 0 and lines[0].startswith(BYTE_ORDER_MARK):
            lines[0] = lines[0][len(BYTE_ORDER_MARK) :]
            size -= len(BYTE_ORDER_MARK)
            start = len(BYTE_ORDER_MARK)
        self._held, self._held_bytes, self._cut_short = [], 0, False
        self._hold(rest)
        short = len(lines[0]) <= self._limit and (len(block) <= self._limit or max(map(len, lines)) <= self._limit)
        if short and not cut_short and min(lines) >= b"!":  # a blank line begins with something below it
            return Lines(lines, start, first)
        return self._pick(lines, start, first, size)

    def end(self) -> Lines:
        """The last line, which has no end, where there is one."""
        start, body, size = self._offset, b"".join(self._held), self._held_bytes
        self._held, self._held_bytes, self._cut_short = [], 0, False
        self._offset += size
        if start == 0 and body.startswith(BYTE_ORDER_MARK):
            body = body[len(BYTE_ORDER_MARK) :]
            size -= len(BYTE_ORDER_MARK)
            start = len(BYTE_ORDER_MARK)
        return self._pick([body], start, self._finished + 1, size, unfinished=True)

    def _hold(self, rest: bytes) -> None:
        if not rest:
            return
        self._held_bytes += len(rest)
        if self._cut_short:
            return
        self._held.append(rest)
        if self._held_bytes > self._limit + _UNCOUNTED_BYTES:
            self._held = [b"".join(self._held)[: self._head + len(BYTE_ORDER_MARK)]]
            self._cut_short = True

    def _pick(self, lines: list[bytes], start: int, first: int, size: int, *, unfinished: bool = False) -> Lines:
        """Leave out blank lines and refuse long ones; *size* is the first line's true size."""
        bodies: list[bytes] = []
        ends: list[int] = []
        numbers: list[int] = []
        refused: dict[int, Refused] = {}
        offset = start
        for number, line in enumerate(lines, first):
            whole = size if number == first else len(line)
            offset += whole
            if not line or (line.isspace() and whole == len(line)):
                continue
            body = line
            if whole > self._limit:
                body = line.rstrip(b"\r\n")
                whole -= len(line) - len(body)
            if whole > self._limit:
                problem = f"the line has {whole:,} bytes, the limit is {self._limit:,}"
                refused[len(bodies)] = Refused(len(bodies), "too-large", problem)
                body = body[: self._head]
            bodies.append(body)
            ends.append(offset)
            numbers.append(number)
        return Lines(bodies, start, first, ends=ends, numbers=numbers, refused=refused, unfinished=unfinished)


def refused_between(refused: dict[int, Refused], start: int, stop: int) -> Sequence[Refused]:
    """Those of the lines [start, stop), with indexes counted from *start*."""
    if not refused:
        return ()
    return tuple(
        Refused(index - start, one.reason, one.problem) for index, one in refused.items() if start <= index < stop
    )
