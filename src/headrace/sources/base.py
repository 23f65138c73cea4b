"""What a source is: batches of raw updates with the position that resumes after them.

Contract of a Source (tests/sources/contract.py runs it on each):
    S1  ``open`` is called once, with the position last committed for ``id``, or None.
    S2  ``read`` yields updates in order, each once; it waits when there is none, and returns None at the end.
    S3  A batch is acknowledged by calling its ``acknowledge`` once, after its effects are durable, in order.
    S4  Opening with a batch's position goes on with the first update after that batch.
    S5  No more than ``most`` updates are returned by one ``read``; a source holds a bounded number of bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec


class Refused(msgspec.Struct, frozen=True):
    """An update of a batch that could not be applied: its index, the reason's code, and the words."""

    index: int
    reason: str
    problem: str


class Batch(msgspec.Struct):
    """Raw updates in order.

    Attributes:
        source: Id of the source, the key of its position.
        bodies: n >= 1 raw updates, each the bytes of one JSON text, not yet looked at; white space
            around it, such as a line's end, may be part of them.
        place: Index to where that update came from, in words: ``sample.jsonl line 12``.
        position: Resumes after this batch; None for a source that cannot resume.
        acknowledge: Called once after the effects are durable, with those that were refused.
        keep_refused: Refused updates become dead letters. False where the sender is told instead.
        ids: Update ids given beside the bodies (Idempotency-Key), or None.
        refused: Those the source itself refused, in the order of their indexes: a body over the limit,
            of which only the beginning is in ``bodies``. They are dead letters as others are.
    """

    source: str
    bodies: Sequence[bytes]
    place: Callable[[int], str]
    position: bytes | None
    acknowledge: Callable[[Sequence[Refused]], None]
    keep_refused: bool = True
    ids: Sequence[str | None] | None = None
    refused: Sequence[Refused] = ()


class Source(Protocol):
    """Yields batches of raw updates; see the contract above."""

    id: str

    async def open(self, position: bytes | None) -> None:
        """Start after *position*, or at the beginning.

        Raises:
            SourceChangedError: What was read before is no longer there.
            RefusedError: There is nothing to read from.
        """
        ...

    async def read(self, most: int) -> Batch | None:
        """The next 1..*most* updates, or None at the end. Waits while there is none yet."""
        ...

    async def close(self) -> None:
        """Let go; may be called twice. Pending reads return None.

        A source whose senders wait gives what was read some time to be acknowledged; cancelled, it stops waiting.
        """
        ...

    def position(self) -> bytes | None:
        """What resumes after the last batch given, or at the place opened at; None when it cannot resume."""
        ...

    def progress(self) -> tuple[int, int | None]:
        """(done, all) in the source's own unit, bytes for files; all is None when unknown."""
        ...
