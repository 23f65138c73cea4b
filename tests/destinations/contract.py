"""What every writer promises, as tests: W1 to W6 of ``headrace.destinations.base``.

A test module subclasses ``WriterContract`` and says how to open a writer and read back what was written.
"""

from __future__ import annotations

import asyncio
import functools
import os
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from headrace.destinations.base import Outcome, Record, Verdict, Writer

T = TypeVar("T")


class Rec(NamedTuple):
    """A record to write."""

    key: str
    data: bytes


class Bench(ABC):
    """A place to write to, empty at first."""

    @abstractmethod
    def open(self) -> Writer:
        """A writer to it."""

    @abstractmethod
    def read(self) -> Mapping[tuple[str, str], tuple[str, bytes]]:
        """Everything written: (shard, sequence) to (key, data)."""


def sockets() -> int:
    """Sockets that this process holds open."""
    found = 0
    for number in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(Path("/proc/self/fd") / number).startswith("socket:")
        except OSError:
            continue
    return found


def with_writer(bench: Bench, use: Callable[[Writer], Awaitable[T]]) -> T:
    """Open a writer, use it in a loop of its own, close it."""

    async def run() -> T:
        writer = bench.open()
        try:
            return await use(writer)
        finally:
            await writer.close()

    return asyncio.run(run())


def records(count: int, *, salt: str = "", size_bytes: int = 40) -> list[Record]:
    """Records that differ in key and data."""
    return [Rec(f"{salt}k{n}", f"{salt}{n}:".encode().ljust(size_bytes, b"x")) for n in range(count)]


async def _write(sent: Sequence[Record], writer: Writer) -> Sequence[Outcome]:
    return await writer.write(sent)


class WriterContract:
    """The suite; ``bench`` is a fixture of the module."""

    def test_w1_one_outcome_per_record_in_order(self, bench: Bench) -> None:
        """Any number of records gets as many outcomes, each about its own record, told by where it lies."""
        for count in (1, 2, 37, 500):
            sent = records(count, salt=f"{count}-")
            answered = with_writer(bench, functools.partial(_write, sent))
            assert len(answered) == count
            written = bench.read()
            for record, outcome in zip(sent, answered, strict=True):
                assert outcome.verdict == Verdict.DELIVERED, outcome
                assert written[outcome.shard, outcome.sequence] == (record.key, record.data)

    def test_w1_nothing_in_nothing_out(self, bench: Bench) -> None:
        """No records give no outcomes, and no request is made for them."""
        assert list(with_writer(bench, lambda w: w.write([]))) == []
        assert bench.read() == {}

    def test_w2_bytes_and_keys_arrive_as_they_were(self, bench: Bench) -> None:
        """Any bytes and any Unicode key come out as they went in."""
        sent: list[Record] = [
            Rec('quote"back\\slash', bytes(range(256))),
            Rec('","PartitionKey":"x', b'"},{"Data":"'),
            Rec('ends with ",', b"1"),
            Rec("line\nbreak\u2028tab\t", b"2"),
            Rec("žluťoučký kůň 馬 🐎", "žluťoučký".encode()),
            Rec("\u00ff" * 256, b"3"),
            Rec("plain", b"{}"),
        ]
        answered = with_writer(bench, lambda w: w.write(sent))
        written = bench.read()
        for record, outcome in zip(sent, answered, strict=True):
            assert outcome.verdict == Verdict.DELIVERED, outcome
            assert written[outcome.shard, outcome.sequence] == (record.key, record.data)

    def test_w3_what_was_not_sent_is_to_be_tried_again(self, bench: Bench) -> None:
        """A closed writer answers RETRY for each record, and none of them is written."""

        async def late(writer: Writer) -> Sequence[Outcome]:
            await writer.close()
            return await writer.write(records(3))

        answered = with_writer(bench, late)
        assert [o.verdict for o in answered] == [Verdict.RETRY] * 3
        assert all(o.code and o.detail for o in answered)
        assert bench.read() == {}

    def test_w4_no_record_is_sent_twice(self, bench: Bench) -> None:
        """There are as many records as were sent, also when all of them look the same."""
        sent: list[Record] = [Rec("same", b"same")] * 20
        answered = with_writer(bench, lambda w: w.write(sent))
        assert len({(o.shard, o.sequence) for o in answered}) == 20
        assert len(bench.read()) == 20

    def test_w5_writes_may_overlap(self, bench: Bench) -> None:
        """As many writes as the limits allow, at once: each gets its own outcomes."""

        async def many(writer: Writer) -> list[tuple[list[Record], Sequence[Outcome]]]:
            sent = [records(5, salt=f"{n}/") for n in range(writer.limits.in_flight)]
            return list(zip(sent, await asyncio.gather(*map(writer.write, sent)), strict=True))

        pairs = with_writer(bench, many)
        written = bench.read()
        assert len(written) == 5 * len(pairs)
        for sent, answered in pairs:
            for record, outcome in zip(sent, answered, strict=True):
                assert written[outcome.shard, outcome.sequence] == (record.key, record.data)

    def test_w6_nothing_stays_open(self, bench: Bench) -> None:
        """After close no socket is left and no task runs; closing again changes nothing."""

        async def run() -> tuple[int, int]:
            before = sockets()
            writer = bench.open()
            await asyncio.gather(*(writer.write(records(2)) for _ in range(4)))
            await writer.close()
            await writer.close()
            # A closed connection's descriptor is let go in the next turn of the loop.
            await asyncio.sleep(0)
            return sockets() - before, len(asyncio.all_tasks())

        assert asyncio.run(run()) == (0, 1)

    def test_w6_a_writer_that_was_never_used_closes(self, bench: Bench) -> None:
        """Closing needs no use before."""

        async def run() -> None:
            await bench.open().close()

        asyncio.run(run())
