"""Put several records into one, in the format of the Kinesis Producer Library, where their shard is certain.

A consumer library takes such a record apart and drops what is in it that does not belong to the shard it reads.
So records of different partition keys share one only when they are sure to go to the same shard, and the shard
that the answer names is compared. Which shard is sure is learned from answers, see ``ShardMap``; until then, and
for keys outside of what is known, records go as they are.

With the order of profiles kept, one record of a key is on its way at a time, so what shares an aggregate is
records of different keys of one shard; without (``ordering: none``) it is several of one key as well.

Holds always (tests/destinations/kinesis/test_aggregation.py):
    G1  Every record is in exactly one entry, and entries and their members keep the order.
    G2  Records of different keys share an entry only when their hashes lie between two that were answered
        with the same shard.
    G3  One outcome per record: that of its entry, but UNKNOWN when another shard answered than was certain,
        for all whose own hash the answer does not speak of.
    G4  An entry refused for its content is SPLIT when it holds several records.

Source: aggregation-format.md of awslabs/amazon-kinesis-producer; byte for byte what aws-kinesis-agg writes.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right, insort
from typing import TYPE_CHECKING, Final

import msgspec

from headrace.destinations.base import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.destinations.base import Record

MAGIC: Final = b"\xf3\x89\x9a\xc2"
MOST_BYTES: Final = 50 * 1024
"""Size that an entry is filled to, as the Kinesis Producer Library does: a smaller one spreads a shard's load."""
_DIGEST_BYTES: Final = 16
_RECORD_BYTES: Final = 16
"""The most that a record takes besides its key and data: five heads, its index among them."""


def key_hash(key: str) -> int:
    """The 128-bit hash that picks a shard: MD5 of the key's UTF-8."""
    return int.from_bytes(hashlib.md5(key.encode(), usedforsecurity=False).digest(), "big")


def pack(records: Sequence[Record]) -> bytes:
    """One aggregate of records, in order.

    Args:
        records: One or more.
    """
    table: dict[str, int] = {}
    keys: list[bytes] = []
    parts: list[bytes] = []
    for record in records:
        index = table.get(record.key)
        if index is None:
            index = table[record.key] = len(table)
            key = record.key.encode()
            keys.append(b"\x0a" + _varint(len(key)) + key)
        data = record.data
        head = b"\x08" + _varint(index) + b"\x1a" + _varint(len(data))
        parts += (b"\x1a", _varint(len(head) + len(data)), head, data)
    message = b"".join((*keys, *parts))
    return MAGIC + message + hashlib.md5(message, usedforsecurity=False).digest()


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class ShardMap:
    """Which shard a hash goes to, as far as answers have shown.

    The hash range of a shard is contiguous and never changes: after a reshard there are other shards. So every
    hash between two that went to a shard belongs to it, for as long as that shard is there at all.

    A stream that distributes records by itself (AUTO) contradicts that: shards that were replaced answer again.
    Answers to earlier requests may do so as well, for a while; meanwhile nothing is certain, and when it goes on
    nothing is certain any more.

    Attributes:
        void: True for good when the stream distributes records by itself.
    """

    LATE: Final = 300
    """Requests after which no answer to one from before a reshard can come: more than can be under way."""

    def __init__(self) -> None:
        self._lows: list[tuple[int, str]] = []
        self._ranges: dict[str, tuple[int, int]] = {}
        self._gone: dict[str, int] = {}
        self._requests = 0
        self._quiet_until = 0
        self.void = False

    @property
    def trusted(self) -> bool:
        """Whether anything is certain at present."""
        return not self.void and self._requests >= self._quiet_until

    def next_request(self) -> None:
        """Count a request that was answered."""
        self._requests += 1

    def shard_of(self, hashed: int) -> str:
        """The shard that *hashed* is sure to go to; empty when that is not known."""
        at = bisect_right(self._lows, (hashed, "~")) - 1
        if at < 0:
            return ""
        shard = self._lows[at][1]
        return shard if hashed <= self._ranges[shard][1] else ""

    def learn(self, hashed: int, shard: str) -> None:
        """Hear that a record of this hash was written to this shard."""
        if self.void or not shard:
            return
        found = self._ranges.get(shard)
        if found is not None and found[0] <= hashed <= found[1]:
            return
        if shard in self._gone:
            self._quiet_until = self._requests + self.LATE
            self.void = self._requests > self._gone[shard] + self.LATE
            return
        low, high = (hashed, hashed) if found is None else (min(found[0], hashed), max(found[1], hashed))
        for other, (first, last) in list(self._ranges.items()):
            if other != shard and first <= high and low <= last:
                self._forget(other)
                self._gone[other] = self._requests
        if found is not None:
            self._forget(shard)
        self._ranges[shard] = (low, high)
        insort(self._lows, (low, shard))

    def _forget(self, shard: str) -> None:
        low, _ = self._ranges.pop(shard)
        self._lows.remove((low, shard))


class Entry(msgspec.Struct, gc=False):
    """What goes into a request: a record, or several in one.

    Attributes:
        key: Partition key: the first member's.
        data: The record's data.
        members: Places of its records, in order.
        hashed: Hash of ``key``.
        shard: Where it must go for all members to be read; empty when any will do.
    """

    key: str
    data: bytes
    members: list[int]
    hashed: int
    shard: str = ""


class _Open:
    """An entry that is being filled."""

    __slots__ = ("keys", "members", "shard", "size")

    def __init__(self, shard: str) -> None:
        self.shard = shard
        self.members: list[int] = []
        self.keys: set[str] = set()
        self.size = len(MAGIC) + _DIGEST_BYTES


class Aggregation:
    """Makes entries of records, and outcomes of records out of those of entries.

    Args:
        record_bytes: The most that one entry may have, key included.
    """

    def __init__(self, record_bytes: int) -> None:
        self._most = min(MOST_BYTES, record_bytes)
        self.shards = ShardMap()

    def entries(self, records: Sequence[Record], request_bytes: int) -> list[Entry]:
        """Group the records of a request; as they are when the groups would not fit into it.

        Args:
            records: In write order, within the limits as they are.
            request_bytes: The most data and keys.

        Raises:
            UnicodeEncodeError: A key holds half of a surrogate pair.
        """
        hashes = [key_hash(record.key) for record in records]
        if not self.shards.trusted:
            return [Entry(r.key, r.data, [n], hashes[n]) for n, r in enumerate(records)]
        found = [self._closed(each, records, hashes) for each in self._groups(records, hashes)]
        if sum(len(e.data) + len(e.key.encode()) for e in found) > request_bytes:
            return [Entry(r.key, r.data, [n], hashes[n]) for n, r in enumerate(records)]
        return found

    def _groups(self, records: Sequence[Record], hashes: Sequence[int]) -> list[_Open]:
        groups: list[_Open] = []
        latest: dict[tuple[str, str], _Open] = {}
        for number, record in enumerate(records):
            shard = self.shards.shard_of(hashes[number])
            name = (shard, "" if shard else record.key)
            key_bytes = len(record.key.encode())
            group = latest.get(name)
            size = len(record.data) + _RECORD_BYTES + (0 if group and record.key in group.keys else key_bytes)
            # The first member's key is the entry's own as well.
            if group is None or group.size + size > self._most:
                group = latest[name] = _Open(shard)
                groups.append(group)
                group.size += key_bytes
                size = len(record.data) + _RECORD_BYTES + key_bytes
            group.members.append(number)
            group.keys.add(record.key)
            group.size += size
        return groups

    @staticmethod
    def _closed(group: _Open, records: Sequence[Record], hashes: Sequence[int]) -> Entry:
        first = group.members[0]
        record = records[first]
        if len(group.members) == 1:
            return Entry(record.key, record.data, group.members, hashes[first])
        shard = group.shard if len(group.keys) > 1 else ""
        return Entry(record.key, pack([records[n] for n in group.members]), group.members, hashes[first], shard)

    def outcomes(
        self, entries: Sequence[Entry], answered: Sequence[Outcome], records: Sequence[Record]
    ) -> list[Outcome]:
        """One outcome per record, in order; what the answers show about shards is learned.

        Args:
            entries: As sent.
            answered: One per entry.
            records: What the entries were made of.
        """
        found = [_NOTHING] * len(records)
        self.shards.next_request()
        for entry, outcome in zip(entries, answered, strict=True):
            delivered = outcome.verdict == Verdict.DELIVERED
            if delivered:
                self.shards.learn(entry.hashed, outcome.shard)
            strayed = delivered and entry.shard != "" and outcome.shard != entry.shard
            for number in entry.members:
                own = outcome if delivered or len(entry.members) == 1 else _shared(outcome)
                if strayed and records[number].key != entry.key:
                    own = Outcome(
                        shard=outcome.shard,
                        code="wrong-shard",
                        detail=f"an aggregate for {entry.shard} was written to {outcome.shard}: the stream was "
                        "resharded; consumers drop what does not belong there, so it is sent again",
                        verdict=Verdict.UNKNOWN,
                    )
                found[number] = own
        return found


_NOTHING: Final = Outcome()


def _shared(outcome: Outcome) -> Outcome:
    """The outcome of one of several records whose entry was refused."""
    split = outcome.verdict == Verdict.REJECTED
    return Outcome(
        outcome.shard,
        outcome.sequence,
        outcome.code,
        outcome.detail,
        Verdict.SPLIT if split else outcome.verdict,
        outcome.wait_s,
    )
