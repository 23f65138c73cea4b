"""The Kinesis writer keeps the contract on two servers that know nothing of each other."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from headrace.destinations.base import Outcome, Record, Verdict, Writer
from headrace.destinations.kinesis import KINESIS
from tests.destinations.contract import Rec, WriterContract, records, with_writer
from tests.destinations.kinesis.streams import KinesisBench
from tests.destinations.kinesis.test_compression import message

MIB = 1024 * 1024


class KinesisContract(WriterContract):
    """What holds on any server, besides W1 to W6."""

    def test_a_missing_stream_halts_and_says_what_to_do(self, bench: KinesisBench) -> None:
        """Nothing is lost for a name: the records are kept until somebody acts."""
        bench.name = "not-there"
        answered = with_writer(bench, lambda w: w.write(records(2)))
        assert [(o.verdict, o.code) for o in answered] == [(Verdict.HALT, "ResourceNotFoundException")] * 2
        assert "check the stream's name" in answered[0].detail

    def test_a_record_over_the_limit_is_found_and_its_neighbours_are_kept(self, bench: KinesisBench) -> None:
        """Refused with others it is rejected by itself or to be split off; alone it is rejected."""
        big = Rec("big", b"x" * (MIB + 1))
        first = with_writer(bench, lambda w: w.write([Rec("a", b"1"), big]))
        assert [o.verdict for o in first] in (
            [Verdict.DELIVERED, Verdict.REJECTED],
            [Verdict.SPLIT, Verdict.SPLIT],
        )
        (alone,) = with_writer(bench, lambda w: w.write([big]))
        assert alone.verdict == Verdict.REJECTED
        assert str(MIB + 1 + 3) in alone.detail
        assert all(data != big.data for _, data in bench.read().values())

    def test_a_request_of_more_than_a_mebibyte_arrives(self, bench: KinesisBench) -> None:
        """A body that is handed over in parts is written whole."""
        sent = records(3, size_bytes=400_000)
        answered = with_writer(bench, lambda w: w.write(sent))
        assert {o.verdict for o in answered} == {Verdict.DELIVERED}
        assert sorted(bench.read().values()) == sorted((r.key, r.data) for r in sent)

    def test_half_a_surrogate_pair_is_rejected_alone(self, bench: KinesisBench) -> None:
        """A key that no encoding can carry harms no neighbour and raises nothing."""
        broken = Rec("\ud800", b"1")
        both = with_writer(bench, lambda w: w.write([Rec("a", b"1"), broken]))
        assert [o.verdict for o in both] == [Verdict.SPLIT] * 2
        (alone,) = with_writer(bench, lambda w: w.write([broken]))
        assert (alone.verdict, alone.code) == (Verdict.REJECTED, "key-not-unicode")
        assert bench.read() == {}

    def test_the_check_allows_all_and_writes_nothing(self, bench: KinesisBench) -> None:
        """C1 and C2 on a server that lets everybody in."""
        found = asyncio.run(KINESIS.check(bench.auth, {"stream": bench.name}))
        assert [(p.action, p.verdict) for p in found.permissions] == [
            ("kinesis:ListStreams", "allowed"),
            ("kinesis:PutRecord", "allowed"),
            ("kinesis:PutRecords", "allowed"),
        ]
        assert all(p.request_id for p in found.permissions)
        assert (found.problems, found.warnings) == ([], [])
        assert bench.read() == {}

    def test_the_check_names_the_streams_that_are_there(self, bench: KinesisBench) -> None:
        """A missing stream is one problem, with names to choose from."""
        found = asyncio.run(KINESIS.check(bench.auth, {"stream": "not-there"}))
        assert not found.ok
        (problem,) = found.problems
        assert "no stream 'not-there' in eu-west-1" in problem
        assert "stream-" in problem

    def test_the_check_sees_another_region(self, bench: KinesisBench) -> None:
        """The stream of one region is none of another's."""
        found = asyncio.run(KINESIS.check({**bench.auth, "region": "us-east-2"}, {"stream": bench.name}))
        (problem,) = found.problems
        assert f"no stream '{bench.name}' in us-east-2" in problem


class CborBench(KinesisBench):
    """The same in CBOR."""

    def open(self, **target: Any) -> Writer:
        return super().open(**{"encoding": "cbor", **target})


class CompressedBench(KinesisBench):
    """Records go out compressed, and are read back with what their first bytes say."""

    compression = ""

    def open(self, **target: Any) -> Writer:
        return _Preparing(super().open(encoding="cbor", compression=self.compression, **target))

    def read(self) -> Mapping[tuple[str, str], tuple[str, bytes]]:
        return {place: (key, message(data)) for place, (key, data) in super().read().items()}


class _Preparing:
    """Prepares records as a dispatcher does."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self.limits = writer.limits
        self.close = writer.close

    async def write(self, sent: Sequence[Record]) -> Sequence[Outcome]:
        return await self._writer.write([Rec(r.key, self._writer.prepare(r.data)) for r in sent])  # type: ignore[no-any-return]


@pytest.mark.moto
class TestOnMoto(KinesisContract):
    """W1 to W6 and more against moto's server."""

    @pytest.fixture
    def bench(self, moto_url: str) -> KinesisBench:
        return KinesisBench(moto_url)


@pytest.mark.kinesis_local
class TestOnKinesisLocal(KinesisContract):
    """W1 to W6 and more against kinesis-local."""

    @pytest.fixture
    def bench(self, kinesis_local_url: str) -> KinesisBench:
        return KinesisBench(kinesis_local_url)


@pytest.mark.kinesis_local
class TestInCborOnKinesisLocal(KinesisContract):
    """W1 to W6 and more in CBOR against kinesis-local."""

    @pytest.fixture
    def bench(self, kinesis_local_url: str) -> KinesisBench:
        return CborBench(kinesis_local_url)


@pytest.mark.kinesis_local
class TestCompressedOnKinesisLocal(WriterContract):
    """W1 to W6 for data that is compressed, in CBOR against kinesis-local."""

    @pytest.fixture(params=["gzip", "zstd"])
    def bench(self, kinesis_local_url: str, request: pytest.FixtureRequest) -> KinesisBench:
        bench = CompressedBench(kinesis_local_url)
        bench.compression = request.param
        return bench


@pytest.mark.moto
def test_a_server_without_cbor_is_spoken_to_in_json(moto_url: str) -> None:
    """moto fails on CBOR with an answer that is none of Kinesis's; the second try is written."""
    bench = CborBench(moto_url)

    async def run() -> list[Sequence[Outcome]]:
        writer = bench.open()
        found = [await writer.write(records(3)), await writer.write(records(3))]
        await writer.close()
        return found

    first, second = asyncio.run(run())
    assert [o.verdict for o in first] == [Verdict.UNKNOWN] * 3
    assert [o.verdict for o in second] == [Verdict.DELIVERED] * 3
    assert sorted(bench.read().values()) == sorted((r.key, r.data) for r in records(3))
