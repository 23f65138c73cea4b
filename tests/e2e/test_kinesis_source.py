"""A Kinesis stream is read while it is resharded and the reader is killed: nothing is lost, order is kept.

The stream is on a server of others' making. The updates are written to it by a partition key that whoever may be
joined shares, so that what each profile sees does not depend on how fast shards are read; what came of them is judged
against an independent fold.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from headrace.testing import Child
from tests.destinations.kinesis.streams import KEYS, REGION, client, create
from tests.e2e.lives import OUTSIDE, Lives, Stream
from tests.e2e.updates import STREAMS, judged, updates, write_configuration
from tests.servers import kinesis_local, moto

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

_ENVIRONMENT: Final = {"AWS_ACCESS_KEY_ID": KEYS["accessKeyId"], "AWS_SECRET_ACCESS_KEY": KEYS["secretKey"]}
_PERSON: Final = re.compile(rb'"id":"(\d+)[@-]')
_PLACES: Final = [
    OUTSIDE, "after commit before send", "before the commit of a merge", "after send before settlement", OUTSIDE,
]  # fmt: skip


def key_of(line: bytes) -> str:
    """Persons that may be joined share it: neighbours by number."""
    found = _PERSON.search(line)
    assert found
    return f"pair-{int(found[1]) // 2}"


class Writer(threading.Thread):
    """Writes updates to a stream part by part, and reshards it between the parts."""

    def __init__(self, kinesis: Any, name: str, lines: list[bytes], *, reshards: bool) -> None:
        super().__init__()
        self._kinesis, self._name, self._lines, self._reshards = kinesis, name, lines, reshards
        self.written = 0
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            for at in range(0, len(self._lines), 200):
                part = self._lines[at : at + 200]
                entries = [{"Data": line, "PartitionKey": key_of(line)} for line in part]
                told = self._kinesis.put_records(StreamName=self._name, Records=entries)
                assert told["FailedRecordCount"] == 0, told
                self.written += len(part)
                if self._reshards and at % 1000 == 800:
                    self.reshard(at // 1000)
        except Exception as error:  # noqa: BLE001 - told by the test
            self.error = error

    def reshard(self, number: int) -> None:
        """Split the widest shard, or merge the first two neighbours, in turn."""
        shards = self._kinesis.list_shards(StreamName=self._name)["Shards"]
        still = [s for s in shards if "EndingSequenceNumber" not in s["SequenceNumberRange"]]
        spans = sorted(
            (int(s["HashKeyRange"]["StartingHashKey"]), int(s["HashKeyRange"]["EndingHashKey"]), s["ShardId"])
            for s in still
        )
        if number % 2:
            self._kinesis.merge_shards(
                StreamName=self._name, ShardToMerge=spans[0][2], AdjacentShardToMerge=spans[1][2]
            )  # fmt: skip
        else:
            first, last, shard = max(spans, key=lambda span: span[1] - span[0])
            self._kinesis.split_shard(
                StreamName=self._name, ShardToSplit=shard, NewStartingHashKey=str((first + last) // 2 + 1)
            )
        waiter = self._kinesis.get_waiter("stream_exists")
        waiter.wait(StreamName=self._name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})


@pytest.fixture(
    params=[
        pytest.param((kinesis_local, True), id="kinesis-local, resharded", marks=pytest.mark.kinesis_local),
        pytest.param((moto, False), id="moto", marks=pytest.mark.moto),
    ]
)
def place(request: pytest.FixtureRequest) -> Iterator[tuple[str, bool]]:
    """URL of a server, and whether its streams are resharded: moto then renumbers what was written before."""
    server, reshards = request.param
    with server() as url:
        yield url, reshards


def test_a_stream_is_read_through_kills(place: tuple[str, bool], tmp_path: Path) -> None:
    """Every message of the fold is received, in order per profile, though the reader dies five times meanwhile."""
    url, reshards = place
    kinesis = client(url)
    name = create(kinesis, shards=3)
    lines = list(updates(21, 8000, 400))
    recording = tmp_path / "received"
    with Child(streams=dict.fromkeys(STREAMS.values(), 2), record=recording, keep=False) as target:
        write_configuration(tmp_path / "config.json", target.url)
        stream = Stream(recording)
        writer = Writer(kinesis, name, lines, reshards=reshards)
        lives = Lives(tmp_path, stream, f"kinesis://{name}?region={REGION}&endpoint={url}", **_ENVIRONMENT)
        writer.start()
        try:
            lives.follow = True
            for death in _PLACES:
                print(lives.kill(death, 150))
        finally:
            writer.join()
        assert writer.error is None, writer.error
        lives.finish_for_good()

    verdict = judged(lines, recording)
    print(verdict)
    assert verdict.ok, verdict
    if reshards:
        shards = kinesis.list_shards(StreamName=name)["Shards"]
        assert len(shards) > 8, "the stream was not resharded"
