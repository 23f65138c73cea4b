"""Judges what a stream received against what it should have received: loss, surprises, repeats, order.

It believes no counter of ours: the expectation comes from an independent fold of the input
(``headrace.testing.fold``), the records from a recording (``headrace.testing.recording``).

Per profile, the first occurrences of its messages must be in the expected order. A repeat must be
the start of a replay: after it come the messages that followed it, one after the other, until
something new. Whatever breaks the first rule is an order violation. Whatever breaks only the second
(a repeat out of the blue, for example a request that was given up and written late) is counted
apart: a consumer that drops repeats never sees it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

EXAMPLES: Final = 10
"""Most examples that a verdict holds of each kind."""


class Recorded(Protocol):
    """What is read of a record; ``Written`` has it."""

    @property
    def stream(self) -> str:
        """Name of its stream."""
        ...

    @property
    def data(self) -> bytes:
        """Its bytes."""
        ...


class Join(NamedTuple):
    """One profile took in another.

    Attributes:
        absorbed: Key of the profile that is no more.
        survivor: Key of the profile that goes on.
        position: Place, among the survivor's expected messages, of the first one after the merge:
            every message of the absorbed profile must be there before it.
    """

    absorbed: Hashable
    survivor: Hashable
    position: int


class Example(NamedTuple):
    """One finding.

    Attributes:
        stream: Name of the stream.
        profile: Key of the profile, None when unknown.
        message: Identity of the message, or None when the data has none.
        position: Its place among the profile's expected messages, -1 when unexpected.
        record: Its place among the records of all streams, -1 when it has none.
    """

    stream: str
    profile: Hashable
    message: Hashable
    position: int
    record: int


class Finding(msgspec.Struct):
    """How often something was found, with a few examples."""

    count: int = 0
    examples: list[Example] = []

    def add(self, example: Example) -> None:
        """Count one."""
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(example)


class Verdict(msgspec.Struct, kw_only=True):
    """What the judge found.

    Attributes:
        expected: Messages expected.
        records: Records read.
        lost: Expected and never received.
        unexpected: Received and not expected, or not to be identified.
        duplicates: Received again.
        disorder: First occurrences that came after one of a later message of the same profile, and
            messages after a merge that came before the absorbed profile's last.
        broken_replays: Repeats that are no replay, see above.
    """

    expected: int = 0
    records: int = 0
    lost: Finding
    unexpected: Finding
    duplicates: Finding
    disorder: Finding
    broken_replays: Finding

    @property
    def ok(self) -> bool:
        """Nothing lost, nothing unexpected, nothing out of order. Repeats are allowed."""
        return not (self.lost.count or self.unexpected.count or self.disorder.count)

    def __str__(self) -> str:
        parts = [f"{self.expected} expected, {self.records} records"]
        for name in ("lost", "unexpected", "duplicates", "disorder", "broken_replays"):
            finding: Finding = getattr(self, name)
            parts.append(f"{finding.count} {name.replace('_', ' ')}")
            parts += [f"  {example}" for example in finding.examples]
        return "\n".join(parts)


class _Metadata(msgspec.Struct, rename="camel"):
    export_id: str | None = None


class _Message(msgspec.Struct):
    metadata: _Metadata | None = msgspec.field(default=None, name="_headrace")


_decode_message = msgspec.json.Decoder(_Message).decode


def export_id(data: bytes) -> Hashable:
    """Identify a message by the export id in its ``_headrace`` block; None when it has none."""
    try:
        metadata = _decode_message(data).metadata
    except msgspec.DecodeError:
        return None
    return metadata.export_id if metadata else None


def whole(data: bytes) -> Hashable:
    """Identify a message by all its bytes."""
    return data


def canonical(message: Mapping[str, Any]) -> bytes:
    """Identify a message by what it says: key order and the ``_headrace`` block do not matter."""
    said = {name: part for name, part in message.items() if name != "_headrace"}
    return hashlib.blake2b(msgspec.json.encode(said, order="deterministic"), digest_size=16).digest()


def content(data: bytes) -> Hashable:
    """Identify an encoded message as ``canonical`` does; None when it is not a JSON object."""
    try:
        message = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return None
    return canonical(message) if isinstance(message, dict) else None


class _Stream:
    """The expectation of one stream, laid out flat, and what of it was seen.

    Every expected message has a number; those of one profile are consecutive.
    """

    def __init__(self, name: str, expected: Mapping[Hashable, Sequence[Hashable]]) -> None:
        self.name = name
        self.messages: list[Hashable] = []
        self.owners: list[int] = []
        self.profiles = list(expected)
        self.ranges: dict[Hashable, range] = {}
        self.numbers: dict[Hashable, int] = {}
        self._alike: dict[Hashable, list[int]] = {}
        for place, (profile, sequence) in enumerate(expected.items()):
            start = len(self.messages)
            for message in sequence:
                self._expect(message, place)
            self.ranges[profile] = range(start, len(self.messages))
        for alike in self._alike.values():
            alike.reverse()
        self.first_seen = [-1] * len(self.messages)
        self.last = [-1] * len(self.profiles)
        self.highest = [-1] * len(self.profiles)

    def _expect(self, message: Hashable, place: int) -> None:
        number = len(self.messages)
        earlier = self.numbers.setdefault(message, number)
        if earlier != number:
            self._alike.setdefault(message, [earlier]).append(number)
        self.messages.append(message)
        self.owners.append(place)

    def find(self, message: Hashable) -> int | None:
        """Return the number of a message; of several alike the first that was not seen, else the last."""
        number = self.numbers.get(message)
        if number is not None and self._alike and message in self._alike:
            alike = self._alike[message]
            if len(alike) > 1 and self.first_seen[alike[-1]] >= 0:
                alike.pop()
            return alike[-1]
        return number

    def example(self, number: int, record: int = -1) -> Example:
        """Describe a finding about an expected message."""
        profile = self.profiles[self.owners[number]]
        return Example(self.name, profile, self.messages[number], number - self.ranges[profile].start, record)

    def receive(self, number: int, record: int, verdict: Verdict) -> None:
        """Note that an expected message was received."""
        owner = self.owners[number]
        last, highest = self.last[owner], self.highest[owner]
        new = self.first_seen[number] < 0
        if not new:
            verdict.duplicates.add(self.example(number, record))
        elif number < highest:
            verdict.disorder.add(self.example(number, record))
        if number > last + 1 and last >= 0 and (last != highest or not new):
            verdict.broken_replays.add(self.example(number, record))
        if new:
            self.first_seen[number] = record
        self.highest[owner] = max(number, highest)
        # once out of order there is no place to go on from but the highest
        self.last[owner] = highest if new and number < highest else number

    def finish(self, joins: Iterable[Join], verdict: Verdict) -> None:
        """Judge what can be judged at the end only: loss, replays that stopped short, joins."""
        verdict.expected += len(self.messages)
        for number, record in enumerate(self.first_seen):
            if record < 0:
                verdict.lost.add(self.example(number))
        for last, highest in zip(self.last, self.highest, strict=True):
            if last != highest:
                verdict.broken_replays.add(self.example(last))
        for join in joins:
            self._finish_join(join, verdict)

    def _finish_join(self, join: Join, verdict: Verdict) -> None:
        absorbed, survivor = self.ranges.get(join.absorbed), self.ranges.get(join.survivor)
        if not absorbed or not survivor or join.position >= len(survivor):
            return
        latest = max(self.first_seen[number] for number in absorbed)
        number = survivor[join.position]
        if 0 <= self.first_seen[number] < latest:
            verdict.disorder.add(self.example(number, self.first_seen[number]))


def judge(
    expected: Mapping[str, Mapping[Any, Sequence[Hashable]]],
    records: Iterable[Recorded],
    *,
    identify: Callable[[bytes], Hashable] = export_id,
    joins: Mapping[str, Iterable[Join]] | None = None,
) -> Verdict:
    """Judge records against an expectation.

    Args:
        expected: For each stream, for each profile key, the identities of its messages in order. Of
            messages that are alike within a stream, the first one missing is taken as received.
        records: What was received, in order of arrival.
        identify: Identity of a message from its bytes; None when it has none.
        joins: For each stream, which profiles took in which.

    Returns:
        The verdict. Time and memory grow in proportion to messages and records.
    """
    verdict = Verdict(
        lost=Finding(), unexpected=Finding(), duplicates=Finding(), disorder=Finding(), broken_replays=Finding()
    )
    streams = {name: _Stream(name, profiles) for name, profiles in expected.items()}
    place = -1
    for place, record in enumerate(records):
        stream = streams.get(record.stream)
        message = identify(record.data)
        number = stream.find(message) if stream is not None and message is not None else None
        if stream is None or number is None:
            verdict.unexpected.add(Example(record.stream, None, message, -1, place))
        else:
            stream.receive(number, place, verdict)
    verdict.records = place + 1
    for name, stream in streams.items():
        stream.finish((joins or {}).get(name, ()), verdict)
    return verdict
