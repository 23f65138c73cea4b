"""Read a stream: every shard by a reader of its own, parents to their end before their children.

The readers put what they fetch into one queue, in which a shard's end comes before anything of its children. So the
updates of a partition key leave in the order in which they were written, through splits and merges of shards.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Final, Literal

from headrace import clock as clocks
from headrace import logs
from headrace.errors import SourceUnreadableError
from headrace.kinesis.connection import connect
from headrace.kinesis.transport import Transport
from headrace.sources.base import Batch
from headrace.sources.kinesis.address import LATEST, TRIM_HORIZON, Address, Start
from headrace.sources.kinesis.chunk import Chunk, chunk_of
from headrace.sources.kinesis.places import FORMAT, Place, Places, decode, encode
from headrace.sources.kinesis.service import RefusedCallError, Service, Shard
from headrace.sources.lines import refused_between

READ_PAUSE_S: Final = 0.2
"""Kinesis answers five reads a second and shard."""
_FETCHES: Final = 4
"""Reads under way at once, so that no more than their answers come on top of what is held."""
_LOOK_S: Final = 10.0
"""How often shards are listed while nothing shows that they have changed."""
_SOON_S: Final = 1.0


def _done(_: object) -> None:
    """A stream's position is kept with the effects, so there is nobody to tell."""


def _names(stream: str, chunk: Chunk, start: int) -> Callable[[int], str]:
    def name(index: int) -> str:
        return f"{stream} {chunk.name(start + index)}"

    return name


class KinesisSource:
    """See the module (contract: ``sources/base.py``).

    Args:
        address: Which stream, and where to begin in one that was never read.
        follow: Wait for more; else the end is what the stream held when each shard was first read to its tip.
        begin: ``resume`` after the position given to ``open``; ``start`` and ``end`` begin at the oldest record
            and at what comes from now on, whatever was read before.
        most_records: The most records of one read.
        queue_bytes: No more is fetched while so much waits to be taken. Four answers (of up to 10 MiB each) may
            come on top.
        poll_s: Seconds between two reads of a shard that has nothing new.
        clock: Time.
        rng: Jitter of repeated calls.
    """

    def __init__(
        self,
        address: Address,
        *,
        follow: bool = False,
        begin: Literal["resume", "start", "end"] = "resume",
        most_records: int = 10_000,
        queue_bytes: int = 32 << 20,
        poll_s: float = 0.5,
        clock: clocks.Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.id = address.id
        self._address = address
        self._follow = follow
        self._begin = begin
        self._most_records = most_records
        self._queue_bytes = queue_bytes
        self._poll_s = max(poll_s, READ_PAUSE_S)
        self._clock: clocks.Clock = clock or clocks.System()
        self._rng = rng or random.Random()  # noqa: S311 - jitter
        self._places = Places(FORMAT, 0, address.start, {})
        self._transport: Transport | None = None
        self._queue: deque[Chunk] = deque()
        self.held_bytes = 0
        self._given = 0
        self._something, self._room, self._look = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._fetching = asyncio.Semaphore(_FETCHES)
        self._readers: dict[str, asyncio.Task[None]] = {}
        self._fetched: set[str] = set()
        """Shards whose end is in the queue or behind it."""
        self._known: dict[str, Shard] = {}
        self._lead: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self._ended = self._closed = self._resumed = False

    async def open(self, position: bytes | None) -> None:
        """See ``Source``.

        Raises:
            SourceUnreadableError: The stream is not there or may not be read, it was made anew, or the position is
                not one.
        """
        connection = connect(self._address.auth)
        self._transport = Transport(connection, self._clock, connections=_FETCHES + 2)
        self._service = Service(self._address.stream, self._transport, self._clock, self._rng)
        try:
            created_ms = await self._service.created_ms()
            self._known = await self._service.shards()
        except RefusedCallError as refused:
            raise self._unreadable(f"Kinesis answers {refused.code}; check its name and region") from None
        if position is not None and self._begin == "resume":
            self._resume(position, created_ms)
        else:
            self._begin_anew(created_ms)
        self._service.opened = True
        self._lead = asyncio.create_task(self._lead_readers(), name=f"lead {self.id}")
        self._lead.add_done_callback(self._watch)

    def _unreadable(self, problem: str) -> SourceUnreadableError:
        return SourceUnreadableError(source=f"kinesis stream {self._address.stream}", problem=problem)

    def _begin_anew(self, created_ms: int) -> None:
        start = {"start": Start(TRIM_HORIZON), "end": Start(LATEST)}.get(self._begin, self._address.start)
        if start.kind == LATEST:
            start = Start(LATEST, self._clock.now_ms())
        # What was closed before now holds nothing that comes from now on.
        shards = {id_: Place(done=start.kind == LATEST and shard.closed) for id_, shard in self._known.items()}
        self._places = Places(FORMAT, created_ms, start, shards)
        self._fetched = {id_ for id_, place in shards.items() if place.done}

    def _resume(self, position: bytes, created_ms: int) -> None:
        found = decode(position)
        if found is None:
            raise self._unreadable("its position was written by another version; choose --from-start or --from-end")
        if found.created_ms and created_ms and found.created_ms != created_ms:
            raise self._unreadable(
                "it was deleted and made anew since it was read; choose: --from-start reads the new one from its "
                "oldest record, --from-end only what comes from now on"
            )
        gone = [id_ for id_ in found.shards if id_ not in self._known]
        lost = [id_ for id_ in gone if not found.shards[id_].done]
        if lost:
            logs.get(stream=self._address.stream, shards=lost).warning(
                "shards were removed before they were read to their end: the stream keeps records too briefly"
            )
        for id_ in gone:
            del found.shards[id_]
        self._places, self._resumed = found, True
        self._fetched = {id_ for id_, place in found.shards.items() if place.done}

    def position(self) -> bytes | None:
        """See ``Source``."""
        return encode(self._places)

    def progress(self) -> tuple[int, int | None]:
        """Updates given; how many there will be is not known."""
        return self._given, None

    # -- giving -----------------------------------------------------------------------------------

    async def read(self, most: int) -> Batch | None:
        """See ``Source``. May be cancelled: nothing is lost.

        Raises:
            SourceUnreadableError: The stream was deleted.
        """
        while True:
            if self._closed:
                return None
            while self._queue:
                chunk = self._queue[0]
                if chunk.left:
                    return self._give(chunk, most)
                self._queue.popleft()
                if chunk.ends:
                    self._places.shards[chunk.shard] = Place(done=True)
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return None
            self._something.clear()
            await self._something.wait()

    def _give(self, chunk: Chunk, most: int) -> Batch:
        start, stop = chunk.take(most)
        self._places.shards[chunk.shard] = chunk.place(stop - 1)
        self._given += stop - start
        if not chunk.left:
            self.held_bytes -= chunk.size
            self._room.set()
        return Batch(
            source=self.id,
            bodies=chunk.bodies[start:stop],
            place=_names(f"{self._address.stream} {chunk.shard}", chunk, start),
            position=self.position(),
            acknowledge=_done,
            refused=refused_between(chunk.refused, start, stop),
        )

    async def close(self) -> None:
        """See ``Source``."""
        self._closed = True
        self._something.set()
        tasks = [*self._readers.values(), *([self._lead] if self._lead else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.close()

    # -- fetching ---------------------------------------------------------------------------------

    async def _lead_readers(self) -> None:
        """Start a reader for each shard whose parents were read to their end, until nothing is left to start."""
        while True:
            for id_, shard in self._known.items():
                if id_ not in self._readers and id_ not in self._fetched and self._may_begin(shard):
                    reader = self._readers[id_] = asyncio.create_task(self._read_shard(shard), name=f"read {id_}")
                    reader.add_done_callback(self._watch)
            if not self._follow and all(reader.done() for reader in self._readers.values()):
                self._ended = True
                self._something.set()
                return
            await self._until_changed()
            known = await self._service.shards()
            # A shard that is gone stays known while it is being read.
            kept = {id_: shard for id_, shard in self._known.items() if id_ in self._readers}
            self._known = kept | known
            for id_ in [id_ for id_, place in self._places.shards.items() if place.done and id_ not in known]:
                del self._places.shards[id_]

    def _may_begin(self, shard: Shard) -> bool:
        return all(parent in self._fetched or parent not in self._known for parent in shard.parents)

    async def _until_changed(self) -> None:
        """Until a reader ends, or it is time to look. A closed shard without children is about to have them."""
        parents = {parent for shard in self._known.values() for parent in shard.parents}
        soon = any(id_ in self._readers and id_ not in parents for id_ in self._fetched)
        timer = asyncio.create_task(self._clock.sleep(_SOON_S if soon else _LOOK_S))
        looking = asyncio.create_task(self._look.wait())
        try:
            await asyncio.wait((timer, looking), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            looking.cancel()
        self._look.clear()

    def _watch(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and self._failure is None:
            if isinstance(error, RefusedCallError):
                error = self._unreadable(f"Kinesis answers {error.code}: it was deleted or cannot be read any more")
            self._failure = error
            self._something.set()
        self._look.set()

    async def _read_shard(self, shard: Shard) -> None:
        """Fetch a shard to its end, or to its tip when nothing is waited for."""
        at = self._places.shards.get(shard.id)
        iterator: str | None = None
        anew = False
        while True:
            while self.held_bytes >= self._queue_bytes:
                self._room.clear()
                await self._room.wait()
            async with self._fetching:
                try:
                    iterator = iterator or await self._iterator(shard, at, anew=anew)
                    answer = await self._service.records(iterator, self._most_records)
                except RefusedCallError as refused:
                    if not refused.expired:
                        raise
                    iterator, anew = None, True
                    continue
            iterator = answer.next_shard_iterator
            if answer.records:
                chunk = chunk_of(shard, answer.records, at)
                at = Place(answer.records[-1].sequence_number)
                self._put(chunk)
            shard = self._known.get(shard.id, shard)
            tip = not answer.millis_behind_latest
            # Some servers give an iterator behind the end of a closed shard as well.
            if iterator is None or (shard.closed and tip and not answer.records):
                self._fetched.add(shard.id)
                self._put(Chunk(shard.id, ends=True))
                return
            if tip and not self._follow and not shard.closed:
                return
            await self._clock.sleep(READ_PAUSE_S if answer.records and not tip else self._poll_s)

    def _put(self, chunk: Chunk) -> None:
        self._queue.append(chunk)
        self.held_bytes += chunk.size
        self._something.set()

    async def _iterator(self, shard: Shard, at: Place | None, *, anew: bool) -> str:
        place: dict[str, str | float]
        if at is not None and at.sequence:
            kind = "AT_SEQUENCE_NUMBER" if at.part else "AFTER_SEQUENCE_NUMBER"
            place = {"ShardIteratorType": kind, "StartingSequenceNumber": at.sequence}
        elif at is None or self._places.start.kind == TRIM_HORIZON:
            place = {"ShardIteratorType": TRIM_HORIZON}
        elif self._places.start.kind == LATEST and not (self._resumed or anew):
            place = {"ShardIteratorType": LATEST}
        else:
            place = {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": self._places.start.at_ms / 1000}
        return await self._service.iterator(shard.id, **place)
