"""The Kinesis writer keeps the contract on two servers that know nothing of each other."""

from __future__ import annotations

import asyncio

import pytest

from headrace.destinations.base import Verdict
from headrace.destinations.kinesis import KINESIS
from tests.destinations.contract import Rec, WriterContract, records, with_writer
from tests.destinations.kinesis.streams import KinesisBench

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
