"""A scripted Kinesis without its wire: one request in, one reply out, or a decision not to reply.

Holds always (tests/testing/test_service.py checks each by its number):
    K1  A record is written once per put request that was taken, whatever then happens to the answer.
    K2  A refused request, and a refused record, writes nothing.
    K3  Sequence numbers grow with arrival, over all shards and through resharding.
    K4  The same script and the same requests give the same replies, request ids and dates apart.
    K5  DryRun writes nothing, unless the script says that it is ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Literal, Protocol, TypeVar

import msgspec

from headrace.testing import cbor
from headrace.testing.caller import Signed, access_key, authenticate
from headrace.testing.catalog import Catalog, ListBody, StreamBody, change_of
from headrace.testing.plan import Call, Plan
from headrace.testing.puts import (
    Desk,
    PutAnswer,
    PutBody,
    PutOneBody,
    check_entries,
    refuse_ordering,
    single_answer,
)
from headrace.testing.reading import IteratorBody, ReadBody, iterator, parse_iterator, read, start_position
from headrace.testing.recording import Recorder
from headrace.testing.refusals import ServiceError
from headrace.testing.script import PUTS, Change, Fault, Script
from headrace.testing.streams import Shard, Stream

JSON: Final = "application/x-amz-json-1.1"
CBOR: Final = "application/x-amz-cbor-1.1"
_TARGET: Final = "Kinesis_20131202."


class Clock(Protocol):
    """The time as this server sees it; ``headrace.clock.Clock`` is one."""

    def now_ms(self) -> int:
        """Epoch milliseconds."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never go back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return once *seconds* have passed."""
        ...


class Reply(msgspec.Struct):
    """What becomes of a request.

    Attributes:
        status: HTTP status.
        body: Encoded body.
        media: Its media type.
        delay_s: Waited before it is sent.
        fate: Sent, never sent, or the connection is reset instead.
        later: Not decided yet: wait ``delay_s``, then call this for the reply.
    """

    status: int = 200
    body: bytes = b""
    media: str = JSON
    delay_s: float = 0.0
    fate: Literal["answer", "silence", "reset"] = "answer"
    later: Callable[[], Reply] | None = None


Body = TypeVar("Body")


class Service:
    """The API actions over a catalog of streams, under a script.

    Attributes:
        catalog: Its streams.
        desk: Takes records; holds what was written and the counts.
        script: What it was told last.
    """

    def __init__(
        self, *, script: Script, clock: Clock, account: str, region: str, recorder: Recorder | None, keep: bool
    ) -> None:
        self.catalog = Catalog(account=account, region=region)
        self.desk = Desk(account=account, recorder=recorder, keep=keep)
        self.script = script
        self._account, self._clock = account, clock
        self._started_s = clock.monotonic_s()
        self._plan = Plan(script)
        self._changes: list[Change] = []
        self.follow(script)

    @property
    def _now(self) -> tuple[int, float]:
        return self._clock.now_ms(), self._clock.monotonic_s()

    def follow(self, script: Script) -> None:
        """Follow another script from here on: its faults count from nothing, its quotas start full."""
        self.script = script
        self._plan = Plan(script)
        self.catalog.limit(script.quota, self._clock.monotonic_s())
        self._changes = sorted(script.changes, key=lambda change: change.at_request)
        self._make_due(0)

    def change(self, change: Change) -> None:
        """Make a change at once, or before the put request that it names.

        Raises:
            ServiceError: It cannot be made.
        """
        if change.at_request > self.desk.counts.puts:
            self._changes = sorted((*self._changes, change), key=lambda c: c.at_request)
        else:
            self.catalog.make(change, now=self._now, arrival=self.desk.arrival)

    def _make_due(self, number: int) -> None:
        while self._changes and self._changes[0].at_request <= number:
            self.catalog.make(self._changes.pop(0), now=self._now, arrival=self.desk.arrival)

    def create(self, name: str, shards: int = 1, *, mode: str = "") -> Stream:
        """Create a stream. Raises as ``Catalog.create`` does."""
        return self.catalog.create(name, shards, now=self._now, arrival=self.desk.arrival, mode=mode)

    def fault_counts(self) -> list[int]:
        """Return how often each fault of the script has struck."""
        return list(self._plan.hits())

    def respond(self, target: str, media: str, request: Signed) -> Reply:
        """Take one request.

        Args:
            target: The X-Amz-Target header.
            media: Its media type; the reply has the same.
            request: Everything else of it.
        """
        self.desk.counts.requests += 1
        action = target.removeprefix(_TARGET)
        call = Call(action, "", 0, self._clock.monotonic_s() - self._started_s, access_key(request.headers))
        if action in PUTS:
            self.desk.counts.puts += 1
            call.number = self.desk.counts.puts
        return self._guarded(partial(self._begin, call, media, request), call, media)

    def _guarded(self, step: Callable[[], Reply], call: Call, media: str) -> Reply:
        try:
            return step()
        except ServiceError as error:
            refused = self.desk.counts.refused
            refused[error.aws_code] = refused.get(error.aws_code, 0) + 1
            words = error.detail
            for name, text in (("account", self._account), ("stream", call.stream), ("action", call.action),
                               ("resource", self.catalog.arn(call.stream or "*"))):  # fmt: skip
                words = words.replace(f"{{{name}}}", text)
            member = "Message" if error.aws_code == "AccessDeniedException" else "message"
            body = self._encode({"__type": error.aws_code, member: words}, media)
            return Reply(error.status, body, media, self.script.latency_s)

    def _begin(self, call: Call, media: str, request: Signed) -> Reply:
        if media == CBOR and not self.script.cbor:
            raise ServiceError(aws_code="UnknownOperationException", detail="Unsupported content type", status=404)
        authenticate(request, self.script, self._clock.now_ms())
        if call.number:
            self._make_due(call.number)
            return self._put(call, media, request.body)
        body = _fields(request.body, media)
        call.stream = str(body.get("StreamName") or str(body.get("StreamARN", "")).rpartition("/")[2])
        return self._under_faults(call, media, partial(self._act, call, media, request.body))

    def _put(self, call: Call, media: str, raw: bytes) -> Reply:
        body: PutBody | PutOneBody
        body = _decode(raw, media, PutBody) if call.action == "PutRecords" else _decode(raw, media, PutOneBody)
        call.stream = body.stream_name or body.stream_arn.rpartition("/")[2]
        entries = body.records
        counts = self.desk.counts
        call.first_record = counts.offered + 1
        counts.offered += len(entries)
        call.keys = [entry.partition_key or "" for entry in entries]
        known = self.catalog.streams.get(call.stream)
        drawn: list[Shard] | None = None
        call.shards = [""] * len(entries)
        if known is not None and any(fault.shards for fault in self.script.faults):
            check_entries(entries, self.script, auto=known.auto)
            shards = self.desk.locate(known, entries, self._plan)
            call.shards = [shard.id for shard in shards]
            drawn = shards if known.auto else None
        return self._under_faults(call, media, partial(self._write, call, body, drawn))

    def _write(self, call: Call, body: PutBody | PutOneBody, drawn: list[Shard] | None) -> Any:
        """Check and write; the answer as a value. *drawn* are the shards where keys do not decide."""
        stream = self.catalog.find(body.stream_name, body.stream_arn)
        entries = body.records
        check_entries(entries, self.script, auto=stream.auto)
        if isinstance(body, PutOneBody):
            refuse_ordering(body, auto=stream.auto)
        if body.dry_run and self.script.dry_run:
            raise ServiceError(aws_code="DryRunOperationException")
        shards = drawn or self.desk.locate(stream, entries, self._plan)
        call.shards = [shard.id for shard in shards]
        shuffle = self.script.shuffle
        placed = self.desk.take(stream, entries, shards, call, self._plan, self._now, shuffle=shuffle)
        if isinstance(body, PutOneBody):
            return single_answer(placed[0])
        return PutAnswer(sum(answer.error_code is not None for answer in placed), placed)

    def _under_faults(self, call: Call, media: str, act: Callable[[], Any]) -> Reply:
        faults = self._plan.whole(call)
        for fault in faults:
            match fault.kind:
                case "refuse":
                    raise ServiceError(aws_code=fault.code, detail=fault.message, status=fault.status)
                case "timeout-before":
                    return Reply(fate="silence")
                case "reset-before":
                    return Reply(fate="reset")
                case _:
                    pass
        finish = partial(self._finish, call, media, act, faults)
        lag_s = sum(fault.delay_s for fault in faults if fault.kind == "lag")
        if lag_s:
            return Reply(delay_s=lag_s, later=partial(self._guarded, finish, call, media))
        return finish()

    def _finish(self, call: Call, media: str, act: Callable[[], Any], faults: list[Fault]) -> Reply:
        value = act()
        reply = Reply(media=media, delay_s=self.script.latency_s)
        for fault in faults:
            match fault.kind:
                case "slow":
                    reply.delay_s += fault.delay_s
                case "wrong-count" if isinstance(value, PutAnswer):
                    value = _miscount(value, fault.count_delta)
                case "refuse-after":
                    raise ServiceError(aws_code=fault.code, detail=fault.message, status=fault.status)
                case "timeout-after":
                    reply.fate = "silence"
                case "reset-after":
                    reply.fate = "reset"
                case _:
                    pass
        reply.body = self._encode(value, media)
        if any(fault.kind == "unparsable" for fault in faults):
            reply.body = b"<html>" + reply.body[:100]
        return reply

    def _act(self, call: Call, media: str, raw: bytes) -> Any:
        """Answer any action but the puts."""
        time = _time_in(media)
        match call.action:
            case "ListStreams":
                return self.catalog.list_streams(_decode(raw, media, ListBody), time)
            case "GetShardIterator":
                return self._iterator(_decode(raw, media, IteratorBody))
            case "GetRecords":
                return self._read(_decode(raw, media, ReadBody), time)
            case _:
                return self._act_on_stream(call, _decode(raw, media, StreamBody), time)

    def _act_on_stream(self, call: Call, body: StreamBody, time: Callable[[int], Any]) -> dict[str, Any]:
        match call.action:
            case "CreateStream":
                mode = body.stream_mode_details.get("StreamMode", "PROVISIONED")
                self.create(body.stream_name, body.shard_count or (4 if mode == "ON_DEMAND" else 1), mode=mode)
            case "DeleteStream" | "SplitShard" | "MergeShards":
                self.catalog.make(change_of(call.action, body, call.stream), now=self._now, arrival=self.desk.arrival)
            case "DescribeStreamSummary":
                return self.catalog.describe_summary(body, time)
            case "DescribeStream":
                return self.catalog.describe(body, time)
            case "ListShards":
                return self.catalog.list_shards(body)
            case _:
                raise ServiceError(
                    aws_code="UnknownOperationException", detail=f"Unknown operation {call.action[:64]}"
                )
        return {}

    def _iterator(self, body: IteratorBody) -> dict[str, Any]:
        stream = self.catalog.find(body.stream_name, body.stream_arn)
        shard = stream.shard(body.shard_id)
        if body.dry_run and self.script.dry_run:
            raise ServiceError(aws_code="DryRunOperationException")
        return {"ShardIterator": iterator(stream, shard, start_position(shard, body))}

    def _read(self, body: ReadBody, time: Callable[[int], Any]) -> dict[str, Any]:
        position, shard_id, name = parse_iterator(body.shard_iterator)
        stream = self.catalog.find(name)
        if body.dry_run and self.script.dry_run:
            raise ServiceError(aws_code="DryRunOperationException")
        return read(stream, stream.shard(shard_id), position, body.limit, time)

    @staticmethod
    def _encode(value: Any, media: str) -> bytes:
        if media != CBOR:
            return b"" if value == {} else msgspec.json.encode(value)
        return cbor.encode(value if isinstance(value, dict) else msgspec.to_builtins(value))


def _time_in(media: str) -> Callable[[int], Any]:
    return cbor.Time if media == CBOR else lambda ms: ms / 1000


def _miscount(answer: PutAnswer, delta: int) -> PutAnswer:
    records = answer.records
    kept = records[:delta] if delta < 0 else records + records[-1:] * delta
    return PutAnswer(answer.failed_record_count, kept)


def _fields(raw: bytes, media: str) -> dict[str, Any]:
    return _decode(raw, media, dict[str, Any])


def _decode(raw: bytes, media: str, wanted: type[Body]) -> Body:
    """Decode a body.

    Raises:
        ServiceError: SerializationException for what cannot be read, ValidationException for what is missing.
    """
    try:
        if media == CBOR:
            return msgspec.convert(cbor.decode(raw), wanted, builtin_types=(bytes,))
        return msgspec.json.decode(raw or b"{}", type=wanted)
    except msgspec.ValidationError as error:
        code = "ValidationException" if "missing required" in str(error) else "SerializationException"
        raise ServiceError(aws_code=code, detail=str(error)) from None
    except (msgspec.DecodeError, ValueError) as error:
        raise ServiceError(aws_code="SerializationException", detail=str(error)) from None
