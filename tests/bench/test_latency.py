"""The latency benchmark measures what its rows say."""

from __future__ import annotations

import argparse

import msgspec
import pytest
from bench.latency.__main__ import at, measure
from bench.latency.load import request, update


def test_updates_are_what_the_row_says() -> None:
    """Each is about 550 bytes, is one JSON object, and writes something new."""
    made = [update(number, 100) for number in range(1000)]
    assert all(530 < len(one) < 570 for one in made)
    assert len({msgspec.json.decode(one)["web"]["n"] for one in made}) == 1000
    assert len({msgspec.json.encode(msgspec.json.decode(one)["identityMap"]) for one in made}) == 100


def test_a_batch_holds_its_updates() -> None:
    """Ten updates a request are ten messages of the batch route."""
    head, _, body = request(20, 10, 100).partition(b"\r\n\r\n")
    assert head.startswith(b"POST /collection/batch/bench ")
    assert f"Content-Length: {len(body)}".encode() in head
    assert [one["web"]["n"] for one in msgspec.json.decode(body)["messages"]] == list(range(20, 30))


def test_shares_of_a_list() -> None:
    """The median of a hundred is the fifty-first, the last percentile the last."""
    values = [float(number) for number in range(100)]
    assert [at(values, share) for share in (0.0, 0.5, 0.99, 0.999)] == [0, 50, 99, 99]


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 10])
def test_every_update_is_timed_from_its_request_to_its_record(batch: int) -> None:
    """A second at 300 updates/s: each is acknowledged after it was sent, and recorded after it was sent."""
    options = argparse.Namespace(
        rate=300.0, batch=batch, seconds=1.0, warm_up=0.5, people=50, connections=4, shards=2
    )  # fmt: skip
    report = measure(options)
    assert (report.updates, report.records) == (300, 450)
    assert len(report.sent_ms) == len(report.acknowledged_ms) == 300
    assert len(report.answer_ms) == 300 // batch
    assert min(report.answer_ms) > 0
    assert min(report.sent_ms) > 0
    assert sum(report.sent_ms) > sum(report.acknowledged_ms)
