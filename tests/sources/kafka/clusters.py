"""A cluster of Kafka brokers within this process: librdkafka's own, which speaks the protocol over TCP."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from typing import Any

import confluent_kafka
import msgspec

from headrace.sources.kafka.address import Address

PARTITIONS = 4
"""As many as a topic of such a cluster has."""
_quiet = logging.getLogger("tests.kafka")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False
_topics = itertools.count(1)


class Cluster:
    """The cluster, and a producer to it.

    Attributes:
        brokers: Addresses.
    """

    def __init__(self) -> None:
        self._producer = confluent_kafka.Producer(
            {"bootstrap.servers": "unused", "test.mock.num.brokers": 2, "linger.ms": 1}, logger=_quiet
        )
        found = self._producer.list_topics(timeout=20).brokers.values()
        self.brokers = ",".join(f"{each.host}:{each.port}" for each in found)

    def topic(self) -> str:
        """A new topic."""
        name = f"updates-{next(_topics)}"
        found = self._producer.list_topics(name, timeout=20).topics[name]
        assert len(found.partitions) == PARTITIONS, found.error
        return name

    def put(self, topic: str, bodies: Sequence[bytes | None], partition: int = 0) -> None:
        """Write messages to one partition, in order, and wait until they are there."""
        for body in bodies:
            self._producer.produce(topic, value=body, partition=partition)
        assert self._producer.flush(20) == 0

    def put_keyed(self, topic: str, bodies: Sequence[bytes], keys: Sequence[str]) -> None:
        """Write messages by key."""
        for body, key in zip(bodies, keys, strict=True):
            self._producer.produce(topic, value=body, key=key)
            self._producer.poll(0)
        assert self._producer.flush(20) == 0

    def address(self, topic: str, **settings: Any) -> Address:
        """Of a topic."""
        return Address(self.brokers, topic, **settings)


def numbered(count: int, keys: int, first: int = 0) -> tuple[list[bytes], list[str]]:
    """Updates that say their key and number, and their keys."""
    named = [f"key-{n % keys}" for n in range(first, first + count)]
    return [msgspec.json.encode({"key": key, "n": first + n}) for n, key in enumerate(named)], named
