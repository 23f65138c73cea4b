"""Read a topic: all partitions by one client in a thread of its own, positions kept with what follows from them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Literal, TypeVar

import msgspec

from headrace import clock as clocks
from headrace import logs
from headrace.errors import SourceUnreadableError
from headrace.sources.base import Batch, Refused
from headrace.sources.kafka.address import EARLIEST, LATEST, Address
from headrace.sources.kafka.client import Client
from headrace.sources.packed import plain

T = TypeVar("T")

FORMAT: Final = 1
_TAKEN: Final = 1000
_WAIT_S: Final = 0.2
_LOOK_S: Final = 60.0
"""How often it is looked for new partitions."""
_TELL_S: Final = 10.0
"""Trouble that lasts so long is told."""


class Places(msgspec.Struct):
    """A position, as it is kept, as JSON.

    Attributes:
        format: Version of this encoding.
        cluster: Id of the cluster, so that another under the same address is noticed.
        offsets: By partition, the offset of the next message.
    """

    format: int
    cluster: str
    offsets: dict[int, int]


def _done(_: object) -> None:
    """A topic's position is kept with the effects, so there is nobody to tell."""


class KafkaSource:
    """See the module (contract: ``sources/base.py``).

    A message's value is one update, plain or compressed with gzip or zstd; a message without value is passed over.

    Args:
        address: Which topic, and where to begin in one that was never read.
        follow: Wait for more; else the end is what each partition held when it was first read to its end.
        begin: ``resume`` after the position given to ``open``; ``start`` and ``end`` begin at the oldest message
            and at what comes from now on, whatever was read before.
        queue_bytes: No more is taken while so much waits. 1,000 messages may come on top, and 16 MiB of the client's.
        clock: Time.
    """

    def __init__(
        self,
        address: Address,
        *,
        follow: bool = False,
        begin: Literal["resume", "start", "end"] = "resume",
        queue_bytes: int = 32 << 20,
        clock: clocks.Clock | None = None,
    ) -> None:
        self.id = address.id
        self._address = address
        self._follow = follow
        self._begin = begin
        self._queue_bytes = queue_bytes
        self._clock: clocks.Clock = clock or clocks.System()
        self._places = Places(FORMAT, "", {})
        self._client: Client | None = None
        self._thread = ThreadPoolExecutor(1, "kafka")
        self._queue: deque[Any] = deque()
        self.held_bytes = 0
        self._given = 0
        self._something, self._room = asyncio.Event(), asyncio.Event()
        self._taking: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self._ended = self._closed = False

    async def open(self, position: bytes | None) -> None:
        """See ``Source``.

        Raises:
            RefusedError: The client is not installed, or its settings are none.
            SourceUnreadableError: No broker answers, the topic is not there, or the position is not one of it.
        """
        client = self._client = Client(self._address)
        cluster, partitions = await self._do(client.partitions)
        if position is not None and self._begin == "resume":
            places = self._resumed(client, position, cluster)
            new = [each for each in partitions if each not in places]
            # A partition that was made since begins with its first message.
            places |= await self._do(client.beginning, new, EARLIEST, 0)
        else:
            start = {"start": EARLIEST, "end": LATEST}.get(self._begin, self._address.start)
            places = await self._do(client.beginning, partitions, start, self._address.at_ms)
        self._places = Places(FORMAT, cluster, places)
        await self._do(client.assign, dict(places))
        self._taking = asyncio.create_task(self._take(client), name=f"read {self.id}")
        self._taking.add_done_callback(self._watch)

    def _resumed(self, client: Client, position: bytes, cluster: str) -> dict[int, int]:
        try:
            found = msgspec.json.decode(position, type=Places)
        except msgspec.DecodeError:
            found = Places(0, "", {})
        if found.format != FORMAT:
            raise client.unreadable("its position was written by another version; choose --from-start or --from-end")
        if found.cluster and cluster and found.cluster != cluster:
            raise client.unreadable(
                f"its position is of another cluster ({found.cluster}, this is {cluster}); give another group, or "
                "choose --from-start or --from-end"
            )
        return found.offsets

    async def _do(self, call: Callable[..., T], *arguments: Any) -> T:
        """One blocking call, in the client's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)

    def position(self) -> bytes | None:
        """See ``Source``."""
        return msgspec.json.encode(self._places)

    def progress(self) -> tuple[int, int | None]:
        """Updates given; how many there will be is not known."""
        return self._given, None

    # -- giving -----------------------------------------------------------------------------------

    async def read(self, most: int) -> Batch | None:
        """See ``Source``. May be cancelled: nothing is lost.

        Raises:
            SourceUnreadableError: What comes next is not there any more, or may not be read.
        """
        while True:
            if self._closed:
                return None
            if self._queue:
                return self._give([self._queue.popleft() for _ in range(min(most, len(self._queue)))])
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return None
            self._something.clear()
            await self._something.wait()

    def _give(self, messages: Sequence[Any]) -> Batch:
        bodies, refused = [], []
        for index, message in enumerate(messages):
            value = message.value()
            self.held_bytes -= len(value)
            self._places.offsets[message.partition()] = message.offset() + 1
            body, problem = plain(value)
            bodies.append(body)
            if problem:
                refused.append(Refused(index, "too-large", problem))
        self._room.set()
        self._given += len(bodies)
        return Batch(
            source=self.id,
            bodies=bodies,
            place=_names(self._address.topic, [(each.partition(), each.offset()) for each in messages]),
            position=self.position(),
            acknowledge=_done,
            refused=refused,
        )

    # -- taking -----------------------------------------------------------------------------------

    async def _take(self, client: Client) -> None:
        """Take what comes until closed, or until every partition was read to its end."""
        looked_s = fine_s = self._clock.monotonic_s()
        open_ends = set(self._places.offsets)
        told = False
        while not self._closed:
            while self.held_bytes >= self._queue_bytes:
                self._room.clear()
                await self._room.wait()
            messages, ends = await self._do(client.take, _TAKEN, _WAIT_S)
            full = [message for message in messages if message.value()]
            self._queue.extend(full)
            self.held_bytes += sum(len(message.value()) for message in full)
            open_ends -= ends
            self._ended = not self._follow and not open_ends
            if full or self._ended:
                self._something.set()
            if self._ended:
                return
            now_s = self._clock.monotonic_s()
            if not client.trouble:
                fine_s = now_s
            if told != (now_s - fine_s >= _TELL_S):
                told = not told
                self._tell(client.trouble if told else "")
            if now_s - looked_s >= _LOOK_S and not client.trouble:
                looked_s = now_s
                await self._look(client)

    def _tell(self, trouble: str) -> None:
        log = logs.get(topic=self._address.topic)
        if trouble:
            log.warning("the topic cannot be read for now", code=trouble)
        else:
            log.info("the topic is read again")

    async def _look(self, client: Client) -> None:
        """Read partitions that were added, from their first message on."""
        try:
            _, partitions = await self._do(client.partitions)
            new = [each for each in partitions if each not in self._places.offsets]
            places = await self._do(client.beginning, new, EARLIEST, 0)
        except SourceUnreadableError:
            return  # the brokers do not answer now: the next look is soon enough
        if places:
            self._places.offsets |= places
            await self._do(client.assign, places)

    def _watch(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error
            self._something.set()

    async def close(self) -> None:
        """See ``Source``."""
        self._closed = True
        self._something.set()
        self._room.set()
        taking, self._taking = self._taking, None
        if taking is not None:
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)
        client, self._client = self._client, None
        if client is not None:
            await self._do(client.close)
        self._thread.shutdown(wait=False)


def _names(topic: str, places: Sequence[tuple[int, int]]) -> Callable[[int], str]:
    def name(index: int) -> str:
        partition, offset = places[index]
        return f"{topic} partition {partition} offset {offset}"

    return name
