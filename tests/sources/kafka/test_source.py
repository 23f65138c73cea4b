"""A Kafka topic as a source: the contract, all partitions, resuming anywhere, and what goes wrong."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
import zstandard

from headrace.core.model import MAX_UPDATE_BYTES
from headrace.errors import RefusedError, SourceUnreadableError
from headrace.sources.base import Batch, Source
from headrace.sources.kafka.address import LATEST, Address
from headrace.sources.kafka.source import KafkaSource
from tests.sources.contract import BOUND_S, Run, Scene, SourceContract, drained, flat, updates
from tests.sources.kafka.clusters import Cluster, numbered

T = TypeVar("T")


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    """Brokers that live as long as these tests."""
    return Cluster()


class TopicScene:
    """One partition of a topic, for the contract."""

    resumes = True

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._topic = cluster, cluster.topic()

    async def source(self) -> Source:
        return KafkaSource(self._cluster.address(self._topic), follow=True)

    async def offer(self, source: Source, bodies: Sequence[bytes]) -> None:
        await asyncio.to_thread(self._cluster.put, self._topic, bodies)

    async def end(self, source: Source) -> None:
        await source.close()

    def answered(self) -> int | None:
        return None

    async def settle(self) -> None:
        pass


class TestKafka(SourceContract):
    """The contract, on a topic that is followed."""

    @pytest.fixture(autouse=True)
    def _place(self, cluster: Cluster) -> None:
        self.cluster = cluster

    async def _run(self, test: Run) -> None:
        scene: Scene = TopicScene(self.cluster)
        await test(scene)


def run(test: Coroutine[Any, Any, T]) -> T:
    """Run one test's coroutine, bounded in time."""
    return asyncio.run(asyncio.wait_for(test, 2 * BOUND_S))


async def whole(source: Source, position: bytes | None = None, most: int = 1000) -> list[Batch]:
    """Everything up to the end."""
    batches = []
    try:
        await source.open(position)
        while (batch := await source.read(most)) is not None:
            batches.append(batch)
    finally:
        await source.close()
    return batches


def everything(address: Address, position: bytes | None = None, most: int = 1000, **settings: Any) -> list[Batch]:
    """All that a topic holds from *position*."""
    return run(whole(KafkaSource(address, **settings), position, most))


def by_key(bodies: Sequence[bytes]) -> dict[str, list[int]]:
    """Numbers of each key, in order."""
    found: dict[str, list[int]] = {}
    for body in bodies:
        said = msgspec.json.decode(body)
        found.setdefault(said["key"], []).append(said["n"])
    return found


def test_all_partitions_are_read_in_order_per_key(cluster: Cluster) -> None:
    """Every message comes once, those of a key in the order in which they were written."""
    topic = cluster.topic()
    bodies, keys = numbered(2000, 40)
    cluster.put_keyed(topic, bodies, keys)
    batches = everything(cluster.address(topic), most=300)
    assert by_key(flat(batches)) == by_key(bodies)
    places = [batch.place(index) for batch in batches for index in range(len(batch.bodies))]
    assert len(set(places)) == 2000
    assert {place.split()[2] for place in places} == {"0", "1", "2", "3"}


def test_s4_goes_on_after_any_batch(cluster: Cluster) -> None:
    """Opened at any position, another reads exactly what was not given, and what was written since."""
    topic = cluster.topic()
    bodies, keys = numbered(400, 20)
    cluster.put_keyed(topic, bodies, keys)
    batches = everything(cluster.address(topic), most=90)
    more, keys = numbered(50, 20, first=400)
    cluster.put_keyed(topic, more, keys)
    for count in range(1, len(batches) + 1):
        rest = everything(cluster.address(topic), batches[count - 1].position)
        assert by_key(flat([*batches[:count], *rest])) == by_key([*bodies, *more]), count


def test_compressed_values_are_inflated_and_missing_ones_passed_over(cluster: Cluster) -> None:
    """gzip and zstd are undone, a message without value is none, one over the limit is refused by itself."""
    topic = cluster.topic()
    first, second = updates(2)
    large = gzip.compress(b'{"a":"' + b"x" * MAX_UPDATE_BYTES + b'"}')
    cluster.put(topic, [gzip.compress(first), None, zstandard.ZstdCompressor().compress(second), large, b"{}"])
    batches = everything(cluster.address(topic))
    assert flat(batches)[:2] == [first, second]
    assert flat(batches)[3] == b"{}"
    assert [one.reason for batch in batches for one in batch.refused] == ["too-large"]
    assert everything(cluster.address(topic), batches[-1].position) == []


def test_latest_and_from_end_begin_with_what_comes(cluster: Cluster) -> None:
    """What is there at the first opening is not given; the place is kept even when nothing came before a stop."""
    topic = cluster.topic()
    cluster.put_keyed(topic, *numbered(30, 7))
    more, keys = numbered(30, 7, first=30)

    async def opened(address: Address, **settings: Any) -> bytes | None:
        source = KafkaSource(address, follow=True, **settings)
        await source.open(None)
        position = source.position()
        await source.close()
        return position

    at_latest = run(opened(cluster.address(topic, start=LATEST)))
    at_end = run(opened(cluster.address(topic), begin="end"))
    cluster.put_keyed(topic, more, keys)
    for position in (at_latest, at_end):
        assert by_key(flat(everything(cluster.address(topic), position))) == by_key(more)
    both = everything(cluster.address(topic), at_end, begin="start")
    assert sum(len(batch.bodies) for batch in both) == 60


def test_a_time_is_asked_of_the_brokers(cluster: Cluster) -> None:
    """A time after all messages begins at the end, as nothing is there from then on."""
    topic = cluster.topic()
    cluster.put_keyed(topic, *numbered(30, 7))
    later = cluster.address(topic, start="", at_ms=int(time.time() * 1000) + 3_600_000)
    assert everything(later) == []


def test_what_was_removed_before_it_was_read_is_an_error(cluster: Cluster) -> None:
    """A position beyond what the partition holds is no reason to jump: the error says what can be chosen."""
    topic = cluster.topic()
    cluster.put(topic, updates(5))
    (batch,) = everything(cluster.address(topic))
    assert batch.position is not None
    beyond = batch.position.replace(b'"0":5', b'"0":99')
    assert beyond != batch.position
    with pytest.raises(SourceUnreadableError, match=r"partition 0 is not there.*--from-start"):
        everything(cluster.address(topic), beyond)
    assert flat(everything(cluster.address(topic), beyond, begin="start")) == updates(5)


def test_another_cluster_is_not_taken_for_the_same(cluster: Cluster) -> None:
    """The same topic's name elsewhere has other messages: the position does not fit."""
    topic = cluster.topic()
    cluster.put(topic, updates(1))
    (batch,) = everything(cluster.address(topic))
    assert batch.position is not None
    places = msgspec.json.decode(batch.position)
    places["cluster"] = "another"
    with pytest.raises(SourceUnreadableError, match="another cluster"):
        everything(cluster.address(topic), msgspec.json.encode(places))
    with pytest.raises(SourceUnreadableError, match="another version"):
        everything(cluster.address(topic), b'{"format":9,"cluster":"","offsets":{}}')


def test_brokers_that_are_not_there_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening ends in time, with what to check."""
    monkeypatch.setattr("headrace.sources.kafka.client.TIMEOUT_S", 1.0)
    with pytest.raises(SourceUnreadableError, match=r"no broker answers.*check addresses"):
        everything(Address("127.0.0.1:9", "updates"))


def test_settings_of_the_client_come_from_a_file(cluster: Cluster, tmp_path: Path) -> None:
    """They count; one that is none, or one of ours, is refused by its name and line, without its value."""
    topic = cluster.topic()
    cluster.put(topic, updates(3))
    file = tmp_path / "kafka.properties"
    file.write_text("# ours\n\nsecurity.protocol = PLAINTEXT\n")
    assert flat(everything(cluster.address(topic, config=str(file)))) == updates(3)
    for text, words in (
        ("sasl.password=hush\nno.such.setting=hush\n", "refuses its settings"),
        ("enable.auto.commit=true\n", "line 1: enable.auto.commit is set by Headrace"),
        ("hush\n", "line 1 is no setting"),
    ):
        file.write_text(text)
        with pytest.raises(RefusedError, match=words) as caught:
            everything(cluster.address(topic, config=str(file)))
        assert "hush" not in str(caught.value)
    with pytest.raises(RefusedError, match="cannot be read"):
        everything(cluster.address(topic, config=str(tmp_path / "none")))


def test_s5_what_is_held_is_bounded(cluster: Cluster) -> None:
    """Nothing more is taken while as much as the bound waits; all comes nevertheless."""
    topic = cluster.topic()
    bodies, keys = numbered(6000, 50)
    cluster.put_keyed(topic, [body + b" " * 400 for body in bodies], keys)

    async def test() -> None:
        source = KafkaSource(cluster.address(topic), follow=True, queue_bytes=50_000)
        await source.open(None)
        for _ in range(200):
            await asyncio.sleep(0.001)
        assert source.held_bytes <= 50_000 + 1000 * 450
        assert by_key(flat(await drained(source, 6000, 100))) == by_key(bodies)
        assert source.held_bytes == 0
        await source.close()

    run(test())
