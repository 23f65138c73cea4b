"""A Kafka topic is read while it is written to and the reader is killed: nothing is lost, order is kept."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from headrace.testing import Child
from tests.e2e.lives import OUTSIDE, Lives, Stream
from tests.e2e.test_kinesis_source import key_of
from tests.e2e.updates import STREAMS, judged, updates, write_configuration
from tests.sources.kafka.clusters import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]


def test_a_topic_is_read_through_kills(tmp_path: Path) -> None:
    """Every message of the fold is received, in order per profile, though the reader dies four times meanwhile."""
    cluster = Cluster()
    topic = cluster.topic()
    lines = list(updates(22, 8000, 400))
    recording = tmp_path / "received"

    def write() -> None:
        for at in range(0, len(lines), 200):
            part = lines[at : at + 200]
            cluster.put_keyed(topic, part, [key_of(line) for line in part])

    with Child(streams=dict.fromkeys(STREAMS.values(), 2), record=recording, keep=False) as target:
        write_configuration(tmp_path / "config.json", target.url)
        stream = Stream(recording)
        lives = Lives(tmp_path, stream, f"kafka://{cluster.brokers}/{topic}")
        writer = threading.Thread(target=write)
        writer.start()
        try:
            lives.follow = True
            for place in (OUTSIDE, "after commit before send", "after send before settlement", OUTSIDE):
                print(lives.kill(place, 150))
        finally:
            writer.join()
        lives.finish_for_good()

    verdict = judged(lines, recording)
    assert verdict.ok, verdict
