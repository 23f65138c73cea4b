"""What reading asks of Kinesis: the shards, a place in one, and the records from there. Tried again until answered.

While a stream is read, whatever may pass is waited for: throttles, a service or a network that is down, keys that
ran out, a permission that was taken away. It is told once, and once more when it is over. When a stream is opened
nobody has been promised anything yet, so after a few tries it is an error.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, TypeVar

import msgspec

from headrace import logs
from headrace.clock import Clock
from headrace.errors import SourceUnreadableError
from headrace.kinesis.transport import Answer, Transport, Unanswered

T = TypeVar("T")

OPEN_TRIES: Final = 5
_TELL_AFTER: Final = 4
_FIRST_WAIT_S: Final = 0.2
_MOST_WAIT_S: Final = 20.0
_EXPIRED: Final = "ExpiredIteratorException"
_FINAL: Final = frozenset(
    {_EXPIRED, "InvalidArgumentException", "ResourceNotFoundException", "ValidationException",
     "UnknownOperationException", "SerializationException"}
)  # fmt: skip
"""Refusals that trying again does not change."""


class _Hashes(msgspec.Struct, frozen=True):
    first: str = msgspec.field(name="StartingHashKey")
    last: str = msgspec.field(name="EndingHashKey")


class _Sequences(msgspec.Struct, frozen=True):
    last: str | None = msgspec.field(name="EndingSequenceNumber", default=None)


class Shard(msgspec.Struct, frozen=True):
    """What ListShards says of a shard."""

    id: str = msgspec.field(name="ShardId")
    hashes: _Hashes = msgspec.field(name="HashKeyRange")
    sequences: _Sequences = msgspec.field(name="SequenceNumberRange")
    parent: str | None = msgspec.field(name="ParentShardId", default=None)
    other_parent: str | None = msgspec.field(name="AdjacentParentShardId", default=None)

    @property
    def parents(self) -> tuple[str, ...]:
        """The shards that had its keys before."""
        return tuple(each for each in (self.parent, self.other_parent) if each)

    @property
    def closed(self) -> bool:
        """Nothing is written to it any more."""
        return bool(self.sequences.last)


class Record(msgspec.Struct, rename="pascal"):
    """What GetRecords says of a record."""

    sequence_number: str
    data: bytes


class Records(msgspec.Struct, rename="pascal"):
    """An answer of GetRecords."""

    records: list[Record]
    next_shard_iterator: str | None = None
    millis_behind_latest: int = 0


class _Iterator(msgspec.Struct, rename="pascal"):
    shard_iterator: str


class _Page(msgspec.Struct, rename="pascal"):
    shards: list[Shard]
    next_token: str | None = None


class _Summary(msgspec.Struct, rename="pascal"):
    stream_creation_timestamp: float = 0.0


class _Described(msgspec.Struct, rename="pascal"):
    stream_description_summary: _Summary


class _Refusal(msgspec.Struct):
    type: str = msgspec.field(name="__type", default="")


class RefusedCallError(Exception):
    """Kinesis refused, and would again.

    Attributes:
        code: As ResourceNotFoundException.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code

    @property
    def expired(self) -> bool:
        """The iterator is older than five minutes; another one from the same place goes on."""
        return self.code == _EXPIRED


class Service:
    """One stream at Kinesis.

    Args:
        stream: Its name.
        transport: Carries requests; it is closed by whoever made it.
        clock: To wait on.
        rng: Jitter.
    """

    def __init__(self, stream: str, transport: Transport, clock: Clock, rng: random.Random) -> None:
        self._stream = stream
        self._transport = transport
        self._clock = clock
        self._rng = rng
        self._told = False
        self.opened = False

    async def created_ms(self) -> int:
        """When the stream was made; 0 where the service does not tell it."""
        try:
            found = await self._ask("DescribeStreamSummary", {"StreamName": self._stream}, _Described)
        except RefusedCallError as refused:
            if refused.code == "UnknownOperationException":
                return 0
            raise
        return round(found.stream_description_summary.stream_creation_timestamp * 1000)

    async def shards(self) -> dict[str, Shard]:
        """Every shard that is still kept, closed ones too, by id, in the service's order."""
        return {shard.id: shard async for shard in self._pages()}

    async def _pages(self) -> AsyncIterator[Shard]:
        request: dict[str, Any] = {"StreamName": self._stream}
        while True:
            page = await self._ask("ListShards", request, _Page)
            for shard in page.shards:
                yield shard
            if not page.next_token:
                return
            request = {"NextToken": page.next_token}

    async def iterator(self, shard: str, **place: Any) -> str:
        """A place in a shard; *place* is as GetShardIterator has it."""
        request = {"StreamName": self._stream, "ShardId": shard, **place}
        return (await self._ask("GetShardIterator", request, _Iterator)).shard_iterator

    async def records(self, iterator: str, most: int) -> Records:
        """The records from an iterator on, up to *most* and 10 MiB."""
        return await self._ask("GetRecords", {"ShardIterator": iterator, "Limit": most}, Records)

    async def _ask(self, action: str, request: Mapping[str, Any], kind: type[T]) -> T:
        """Ask until there is an answer.

        Raises:
            RefusedCallError: It would be refused again.
            SourceUnreadableError: The stream is not open yet, and the answer did not come in a few tries.
        """
        tries = 0
        while True:
            answer = await self._transport.post(action, msgspec.json.encode(request))
            if isinstance(answer, Answer) and answer.status == 200:
                try:
                    found = msgspec.json.decode(answer.body, type=kind)
                except (msgspec.MsgspecError, UnicodeDecodeError):
                    code, why = "answer-unreadable", "the endpoint does not answer as Kinesis does"
                else:
                    self._recovered()
                    return found
            else:
                code, why = self._refused(answer, action)
            tries += 1
            halted = isinstance(answer, Unanswered) and answer.halt
            if not self.opened and (tries >= OPEN_TRIES or halted):
                raise SourceUnreadableError(source=f"kinesis stream {self._stream}", problem=f"{action}: {why}")
            if tries >= _TELL_AFTER and not self._told:
                self._told = True
                logs.get(stream=self._stream, action=action, code=code).warning("the stream cannot be read for now")
            await self._clock.sleep(
                self._rng.uniform(0.5, 1.0) * min(_MOST_WAIT_S, _FIRST_WAIT_S * 2 ** min(tries, 16))
            )

    def _refused(self, answer: Answer | Unanswered, action: str) -> tuple[str, str]:
        """Code of a refusal that may pass, and words; what it shows of keys and clock is learned."""
        if isinstance(answer, Unanswered):
            return answer.code, answer.detail
        code = _code(answer)
        if code in _FINAL:
            raise RefusedCallError(code)
        self._transport.correct_clock(answer)
        if answer.status in (400, 403) and ("Token" in code or "Client" in code):
            self._transport.expire(answer.credentials)
        hint = f"; the keys may need the permission kinesis:{action}" if "AccessDenied" in code else ""
        return code, f"refused with status {answer.status} {code}{hint}"

    def _recovered(self) -> None:
        if self._told:
            self._told = False
            logs.get(stream=self._stream).info("the stream is read again")


def _code(answer: Answer) -> str:
    try:
        code = msgspec.json.decode(answer.body, type=_Refusal).type
    except (msgspec.MsgspecError, UnicodeDecodeError):
        code = ""
    return (code or answer.error_type).rpartition("#")[2].partition(":")[0]
