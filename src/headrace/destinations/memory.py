"""A destination within the process, with scripted refusals: for tests, here and at the users'.

It keeps every record that it accepted, in order, and refuses what its rules say. Streams are told apart by
name and outlive their writers, so that a writer can be closed and opened again. It reads no clock.

    >>> import asyncio
    >>> from headrace.destinations.base import Verdict
    >>> class Record:
    ...     def __init__(self, key: str, data: bytes) -> None:
    ...         self.key, self.data = key, data
    >>> memory = MemoryDestination([Rule(Verdict.RETRY, nth=2, code="Throttled")])
    >>> writer = memory.writer({}, {"stream": "s"})
    >>> [o.code for o in asyncio.run(writer.write([Record("a", b"1"), Record("b", b"2")]))]
    ['', 'Throttled']
    >>> [r.data for r in memory.stream("s").accepted]
    [b'1']
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from headrace.destinations.base import (
    TARGET_TOGGLES,
    AuthSpec,
    Check,
    Limits,
    Outcome,
    Parameter,
    Permission,
    Places,
    Spec,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.destinations.base import Record
    from headrace.errors import Mistake


class Rule(msgspec.Struct, frozen=True):
    """One scripted refusal. The first rule that applies to a record decides; each counts for itself.

    Attributes:
        verdict: What the refused record is answered.
        nth: The first matching record to refuse, counted from 1 over all writes to the stream.
        times: How many matching records from there on; None for all.
        key: Only records with this partition key; None for any.
        contains: Only records whose data contains this; empty for any.
        written: Accept the record all the same: a time-out after the write.
        request: Refuse the whole request with it, nothing of which is accepted unless *written*.
        code: Error code of the outcome.
        detail: Its text.
        wait_s: Wait that is asked for.
    """

    verdict: Verdict
    nth: int = 1
    times: int | None = 1
    key: str | None = None
    contains: bytes = b""
    written: bool = False
    request: bool = False
    code: str = "Scripted"
    detail: str = "refused by a rule"
    wait_s: float = 0.0

    def matches(self, record: Record) -> bool:
        """Whether the rule is about this record, whatever its turn."""
        return (self.key is None or record.key == self.key) and self.contains in record.data

    def outcome(self) -> Outcome:
        """The answer."""
        return Outcome(code=self.code, detail=self.detail, verdict=self.verdict, wait_s=self.wait_s)


class Accepted(msgspec.Struct, frozen=True):
    """A record as it was taken.

    Attributes:
        sequence: Its place among all accepted records of the stream, from 1.
        shard: Where its key belongs.
        key: Partition key.
        data: The message.
    """

    sequence: int
    shard: str
    key: str
    data: bytes


class MemoryStream:
    """Everything one stream accepted, and its rules' counts.

    Args:
        rules: Refusals, the first that applies decides.
        shards: How many shards the keys are spread over, as Kinesis does: by MD5.
    """

    def __init__(self, rules: Sequence[Rule] = (), shards: int = 1) -> None:
        self.accepted: list[Accepted] = []
        self.attempts: list[tuple[str, bytes]] = []
        """Key and data of every record that was sent, refused ones too."""
        self.requests = 0
        self._shards = shards
        self._rules: list[tuple[Rule, list[int]]] = [(rule, [0]) for rule in rules]

    def script(self, *rules: Rule) -> None:
        """Put rules behind those that are there."""
        self._rules += [(rule, [0]) for rule in rules]

    def clear_rules(self) -> None:
        """Refuse nothing any more."""
        self._rules.clear()

    def take(self, records: Sequence[Record]) -> list[Outcome]:
        """Accept or refuse one request."""
        self.requests += 1
        self.attempts += [(record.key, record.data) for record in records]
        rules = [self._rule(record) for record in records]
        whole = next((rule for rule in rules if rule is not None and rule.request), None)
        if whole is not None:
            rules = [whole] * len(records)
        return [self._settle(record, rule) for record, rule in zip(records, rules, strict=True)]

    def _rule(self, record: Record) -> Rule | None:
        """The rule whose turn it is. Every matching rule counts the record, also when an earlier one decides."""
        decides = None
        for rule, count in self._rules:
            if not rule.matches(record):
                continue
            count[0] += 1
            due = count[0] >= rule.nth and (rule.times is None or count[0] < rule.nth + rule.times)
            if due and decides is None:
                decides = rule
        return decides

    def _settle(self, record: Record, rule: Rule | None) -> Outcome:
        if rule is not None and not rule.written:
            return rule.outcome()
        turn = int.from_bytes(hashlib.md5(record.key.encode(), usedforsecurity=False).digest(), "big")
        shard = f"shardId-{turn * self._shards >> 128:012d}"
        taken = Accepted(len(self.accepted) + 1, shard, record.key, bytes(record.data))
        self.accepted.append(taken)
        return Outcome(shard=shard, sequence=str(taken.sequence)) if rule is None else rule.outcome()


class MemoryWriter:
    """Writes to one ``MemoryStream``. See ``Writer`` for the contract."""

    def __init__(self, stream: MemoryStream, limits: Limits) -> None:
        self.limits = limits
        self._stream = stream
        self._closed = False

    async def write(self, records: Sequence[Record]) -> Sequence[Outcome]:
        """See ``Writer``. Gives way once before it takes the request, so that writes do interleave."""
        await asyncio.sleep(0)
        if self._closed:
            closed = Outcome(code="closed", detail="the writer is closed", verdict=Verdict.RETRY)
            return [closed] * len(records)
        return self._stream.take(records)

    async def close(self) -> None:
        """See ``Writer``."""
        self._closed = True


class MemoryDestination:
    """Streams within this process. See ``Destination`` for the contract.

    Args:
        rules: Refusals of every stream, each stream counting for itself.
    """

    spec: Spec = Spec(
        id="5c0a5e35-7f0e-4d41-9d1c-8f6d0b8f2a11",
        version="1.0",
        name="Memory",
        category="streaming",
        description="Keeps the messages in this process and loses them with it: for trying things out and for tests.",
        auth=(AuthSpec("No authentication", "None", ()),),
        target=(
            Parameter(
                "stream",
                "Stream",
                "Any name; it comes to be with its first use.",
                required=True,
                pattern=r".{1,128}",
                form="one line of 1 to 128 characters",
            ),
            *TARGET_TOGGLES,
            Parameter("shards", "Shards", "Over which keys are spread.", "integer", default=1, least=1, most=1000),
        ),
    )

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._rules = tuple(rules)
        self._streams: dict[str, MemoryStream] = {}

    def stream(self, name: str, shards: int = 1) -> MemoryStream:
        """The stream of that name, made when there is none; *shards* counts only then."""
        if name not in self._streams:
            self._streams[name] = MemoryStream(self._rules, shards)
        return self._streams[name]

    def forget(self) -> None:
        """Let go of every stream."""
        self._streams.clear()

    def mistakes(self, auth: Mapping[str, Any], target: Mapping[str, Any]) -> Sequence[Mistake]:
        """None: no parameter depends on another."""
        del auth, target
        return ()

    def place(self, auth: Mapping[str, Any], target: Mapping[str, Any]) -> str:
        """See ``Destination``: the stream's name."""
        return str(target.get("stream", ""))

    def writer(self, auth: Mapping[str, Any], target: Mapping[str, Any]) -> MemoryWriter:
        """See ``Destination``."""
        del auth
        return MemoryWriter(self.stream(target["stream"], target.get("shards") or 1), Limits())

    async def check(self, auth: Mapping[str, Any], target: Mapping[str, Any]) -> Check:
        """Always well. See ``Destination``."""
        del auth
        return Check([Permission("memory:Write", "allowed")], facts={"stream": target["stream"]})

    async def places(self, auth: Mapping[str, Any]) -> Places:
        """See ``Lists``: the streams that were used."""
        del auth
        return Places(names=tuple(sorted(self._streams)))


MEMORY: Final = MemoryDestination()
"""The one that configurations reach; its streams live as long as the process."""
