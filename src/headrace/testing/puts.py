"""PutRecord and PutRecords: what is refused before anything is written, and the verdict on each record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from headrace.testing.plan import Call, Plan
from headrace.testing.recording import Recorder, Written
from headrace.testing.refusals import MESSAGES, ServiceError, invalid, shard_throttle, validation
from headrace.testing.script import Fault, Script
from headrace.testing.streams import HASHES, Shard, Stream

MAX_KEY_CHARS: Final = 256
MAX_DATA_BYTES: Final = 10 * 1024 * 1024
"""Of any record whatever the stream allows: the API's model."""

_SEQUENCE: Final = "4966" + "0" * 32
THROTTLE: Final = "ProvisionedThroughputExceededException"


class Entry(msgspec.Struct, rename="pascal", gc=False):
    """One record of a request, as the API names it."""

    data: bytes
    partition_key: str | None = None
    explicit_hash_key: str | None = None


class PutBody(msgspec.Struct, rename="pascal"):
    """Body of PutRecords."""

    records: list[Entry]
    stream_name: str = ""
    stream_arn: str = msgspec.field(default="", name="StreamARN")
    dry_run: bool = False


class PutOneBody(msgspec.Struct, rename="pascal"):
    """Body of PutRecord."""

    data: bytes
    partition_key: str | None = None
    explicit_hash_key: str | None = None
    sequence_number_for_ordering: str | None = None
    stream_name: str = ""
    stream_arn: str = msgspec.field(default="", name="StreamARN")
    dry_run: bool = False

    @property
    def records(self) -> list[Entry]:
        """Its one record."""
        return [Entry(self.data, self.partition_key, self.explicit_hash_key)]


class Placed(msgspec.Struct, rename="pascal", omit_defaults=True, gc=False):
    """The answer about one record."""

    shard_id: str | None = None
    sequence_number: str | None = None
    error_code: str | None = None
    error_message: str | None = None


class PutAnswer(msgspec.Struct, rename="pascal"):
    """Answer of PutRecords."""

    failed_record_count: int
    records: list[Placed]


class Counts(msgspec.Struct):
    """What a scripted Kinesis has seen.

    Attributes:
        requests: All requests.
        puts: Put requests.
        offered: Records in put requests that were looked at one by one.
        accepted: Records written.
        failed: Records refused in an answer of 200, by error code.
        refused: Requests answered with an error, by error code.
        faults: Strikes of each fault of the script, in its order.
        connections: Connections opened so far.
        open: Connections open now.
    """

    requests: int = 0
    puts: int = 0
    offered: int = 0
    accepted: int = 0
    failed: dict[str, int] = {}
    refused: dict[str, int] = {}
    faults: list[int] = []
    connections: int = 0
    open: int = 0


def sequence_number(arrival: int) -> str:
    """Return the sequence number of the record that arrived as number *arrival*: 56 digits, growing."""
    return f"{_SEQUENCE}{arrival:020d}"


def check_entries(entries: Sequence[Entry], script: Script, *, auto: bool) -> None:
    """Refuse what breaks a limit.

    Raises:
        ServiceError: ValidationException for the API's model, InvalidArgumentException for sums and hash keys.
    """
    if not 1 <= len(entries) <= script.max_records:
        raise validation(
            "records", f"Member must have length {'less' if entries else 'greater'} than or equal to "
            f"{script.max_records if entries else 1}"
        )  # fmt: skip
    total = 0
    for number, entry in enumerate(entries, 1):
        total += _check_entry(f"records.{number}.member", entry, script, auto=auto)
    if total > script.max_request_bytes:
        raise invalid(f"Records size exceeds {script.max_request_bytes >> 20} MB limit")


def _check_entry(where: str, entry: Entry, script: Script, *, auto: bool) -> int:
    key = entry.partition_key
    if key is None:
        if not auto:
            raise validation(f"{where}.partitionKey", "Member must not be null")
        key = ""
    elif not 1 <= len(key) <= MAX_KEY_CHARS:
        raise validation(f"{where}.partitionKey", f"Member must have length between 1 and {MAX_KEY_CHARS}")
    if len(entry.data) > MAX_DATA_BYTES:
        raise validation(f"{where}.data", f"Member must have length less than or equal to {MAX_DATA_BYTES}")
    size = len(entry.data) + (len(key) if key.isascii() else len(key.encode()))
    if size > script.max_record_bytes:
        raise invalid(f"Record size of {size} bytes exceeds the limit of {script.max_record_bytes} bytes")
    if entry.explicit_hash_key is not None and not auto:
        explicit_hash(entry.explicit_hash_key)
    return size


def explicit_hash(text: str) -> int:
    """Read an explicit hash key.

    Raises:
        ServiceError: It is not a decimal number below 2^128.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 39 and int(text) < HASHES):
        raise invalid(
            "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. "
            f"Specified value was {text[:64]}"
        )
    return int(text)


class Desk:
    """Takes the records of put requests, one verdict each.

    Attributes:
        records: Everything accepted, in the order of arrival, when kept.
        counts: What has been seen.
        arrival: Number of the last accepted record.
    """

    def __init__(self, *, account: str, recorder: Recorder | None, keep: bool) -> None:
        self.records: list[Written] = []
        self.counts = Counts()
        self.arrival = 0
        self._account, self._recorder, self._keep = account, recorder, keep

    def locate(self, stream: Stream, entries: Sequence[Entry], plan: Plan) -> list[Shard]:
        """Find the shard of each record; on an AUTO stream any open one, drawn."""
        if stream.auto:
            return plan.random.choices(stream.open_shards, k=len(entries))
        return [
            stream.locate(
                entry.partition_key or "",
                None if entry.explicit_hash_key is None else explicit_hash(entry.explicit_hash_key),
            )
            for entry in entries
        ]

    def take(
        self,
        stream: Stream,
        entries: Sequence[Entry],
        shards: Sequence[Shard],
        call: Call,
        plan: Plan,
        now: tuple[int, float],
        *,
        shuffle: bool,
    ) -> list[Placed]:
        """Write what no fault and no quota refuses.

        Args:
            stream: Where to.
            entries: Records that were checked.
            shards: The shard of each.
            call: The request.
            plan: Faults.
            now: Epoch milliseconds, and seconds that never go back.
            shuffle: Take the records in a drawn order.

        Returns:
            One answer per record, in the order of *entries*.
        """
        decide = plan.single(call)
        order = list(range(len(entries)))
        if shuffle:
            plan.random.shuffle(order)
        answers: list[Placed] = [Placed()] * len(entries)
        fresh: list[Written] = []
        now_ms, now_s = now
        arrival = self.arrival
        for index in order:
            entry, shard = entries[index], shards[index]
            key = entry.partition_key or ""
            fault = decide(index) if decide else None
            if fault is not None or not shard.admit(len(entry.data) + len(key.encode()), now_s):
                answers[index] = self._refuse(fault, shard, stream)
                continue
            arrival += 1
            sequence = f"{_SEQUENCE}{arrival:020d}"
            fresh.append(
                Written(arrival, call.number, index, stream.name, shard.id, sequence, key, entry.data, now_ms)
            )
            answers[index] = Placed(shard.id, sequence)
            if self._keep:
                shard.written.append(fresh[-1])
        self.arrival = arrival
        self._store(fresh)
        return answers

    def _store(self, fresh: list[Written]) -> None:
        self.counts.accepted += len(fresh)
        if self._recorder is not None:
            self._recorder.append(fresh)
        if self._keep:
            self.records += fresh

    def _refuse(self, fault: Fault | None, shard: Shard, stream: Stream) -> Placed:
        code = THROTTLE if fault is None or fault.kind == "throttle" else fault.code
        message = fault.message if fault else ""
        if not message:
            message = (
                shard_throttle(shard=shard.id, stream=stream.name, account=self._account)
                if code == THROTTLE
                else MESSAGES.get(code, code)
            )
        failed = self.counts.failed
        failed[code] = failed.get(code, 0) + 1
        return Placed(error_code=code, error_message=message)


def refuse_ordering(body: PutOneBody, *, auto: bool) -> None:
    """Refuse SequenceNumberForOrdering where keys are ignored.

    Raises:
        ServiceError: InvalidArgumentException.
    """
    if auto and body.sequence_number_for_ordering is not None:
        raise invalid("SequenceNumberForOrdering is not supported with AUTO record distribution.")


def single_answer(placed: Placed) -> Placed:
    """Return the answer of PutRecord, whose refusals are errors of the request.

    Raises:
        ServiceError: The record was refused.
    """
    if placed.error_code is not None:
        raise ServiceError(aws_code=placed.error_code, detail=placed.error_message or "")
    return placed
