"""The client of a topic: blocking calls of confluent-kafka, each made in a thread of the caller's.

Partitions are assigned, no group is joined: there is one reader, and where it stands is kept with what it read.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from headrace.errors import RefusedError, SourceUnreadableError
from headrace.sources.kafka.address import EARLIEST, LATEST, Address

TIMEOUT_S: Final = 10.0
_OURS: Final = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    # What was read before and is gone is an error, never a jump.
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    "queued.max.messages.kbytes": 16_384,
    "allow.auto.create.topics": False,
}
"""Settings of the client that what is promised rests on; a file may not change them."""
_MORE: Final = {"fetch.wait.max.ms": 100, "socket.keepalive.enable": True}

_silent = logging.getLogger("headrace.sources.kafka.librdkafka")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


def settings_of(address: Address) -> dict[str, Any]:
    """Everything that the client is told.

    Raises:
        RefusedError: The file cannot be read, or has a line that is no setting, or one of ours.
    """
    found: dict[str, Any] = dict(_MORE)
    if address.config:
        found |= _of_file(Path(address.config))
    return found | _OURS | {"bootstrap.servers": address.brokers, "group.id": address.group}


def _of_file(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedError(f"the file of Kafka settings {path} cannot be read: {type(error).__name__}") from None
    found = {}
    for number, line in enumerate(lines, 1):
        name, sign, value = line.strip().partition("=")
        if not name or name.startswith("#"):
            continue
        if not sign:
            raise RefusedError(f"{path} line {number} is no setting (allowed: name=value)")
        if name.strip() in (*_OURS, "bootstrap.servers", "group.id"):
            raise RefusedError(f"{path} line {number}: {name.strip()} is set by Headrace; take the line out")
        found[name.strip()] = value.strip()
    return found


class Client:
    """See the module.

    Args:
        address: Which topic.

    Raises:
        RefusedError: The extra is not installed, or a setting is none.
    """

    def __init__(self, address: Address) -> None:
        try:
            import confluent_kafka
        except ImportError:
            raise RefusedError("reading from Kafka needs its client: pip install 'headrace[kafka]'") from None
        self._kafka = confluent_kafka
        self._address = address
        self.trouble = ""
        """Code of what went wrong since the last message, and may pass."""
        try:
            self._consumer = confluent_kafka.Consumer(
                {**settings_of(address), "error_cb": self._told}, logger=_silent
            )
        except confluent_kafka.KafkaException as error:
            # Of the client's words only the code: they may quote a setting's value.
            raise RefusedError(f"the Kafka client refuses its settings: {_code(error)}") from None

    def _told(self, error: Any) -> None:
        self.trouble = error.name()

    def partitions(self) -> tuple[str, list[int]]:
        """The cluster's id, and the partitions of the topic.

        Raises:
            SourceUnreadableError: No broker answers, or the topic is not there.
        """
        try:
            found = self._consumer.list_topics(self._address.topic, timeout=TIMEOUT_S)
        except self._kafka.KafkaException as error:
            hint = f"; the last trouble was {self.trouble}" if self.trouble else ""
            raise self.unreadable(f"no broker answers: {_code(error)}{hint}; check addresses and settings") from None
        topic = found.topics[self._address.topic]
        if topic.error is not None:
            raise self.unreadable(f"the brokers answer {topic.error.name()}; check the topic's name")
        return found.cluster_id or "", sorted(topic.partitions)

    def beginning(self, partitions: Sequence[int], start: str, at_ms: int) -> dict[int, int]:
        """Offsets to begin at, by partition.

        Args:
            partitions: Which.
            start: earliest, latest, or empty for the time *at_ms*.
            at_ms: Epoch milliseconds.
        """
        topic = self._address.topic
        try:
            bounds = {
                each: self._consumer.get_watermark_offsets(
                    self._kafka.TopicPartition(topic, each), timeout=TIMEOUT_S, cached=False
                )
                for each in partitions
            }
            if start == EARLIEST:
                return {each: low for each, (low, _) in bounds.items()}
            ends = {each: high for each, (_, high) in bounds.items()}
            if start == LATEST:
                return ends
            wanted = [self._kafka.TopicPartition(topic, each, at_ms) for each in partitions]
            found = self._consumer.offsets_for_times(wanted, timeout=TIMEOUT_S)
            return {each.partition: each.offset if each.offset >= 0 else ends[each.partition] for each in found}
        except self._kafka.KafkaException as error:
            raise self.unreadable(f"the brokers do not tell where to begin: {_code(error)}") from None

    def assign(self, places: Mapping[int, int]) -> None:
        """Read these partitions too, from these offsets on."""
        topic = self._address.topic
        self._consumer.incremental_assign(
            [self._kafka.TopicPartition(topic, each, offset) for each, offset in places.items()]
        )

    def take(self, most: int, wait_s: float) -> tuple[list[Any], set[int]]:
        """Messages, as soon as there is one, and the partitions that were read to their end.

        Raises:
            SourceUnreadableError: Reading cannot go on.
        """
        first = self._consumer.poll(wait_s)
        if first is None:
            return [], set()
        messages: list[Any] = []
        ends: set[int] = set()
        for message in [first, *self._consumer.consume(most - 1, timeout=0.0)] if most > 1 else [first]:
            error = message.error()
            if error is None:
                messages.append(message)
                self.trouble = ""
            elif error.code() == self._kafka.KafkaError._PARTITION_EOF:
                ends.add(message.partition() or 0)
            elif error.retriable() or error.code() in self._passing():
                self.trouble = error.name()
            else:
                raise self._final(error, message)
        return messages, ends

    def _passing(self) -> tuple[int, ...]:
        found = self._kafka.KafkaError
        return found._ALL_BROKERS_DOWN, found._TRANSPORT, found._RESOLVE, found._TIMED_OUT

    def _final(self, error: Any, message: Any) -> SourceUnreadableError:
        if error.code() == self._kafka.KafkaError._AUTO_OFFSET_RESET:
            return self.unreadable(
                f"what comes next in partition {message.partition()} is not there: it was removed before it was "
                "read, or the topic was made anew; choose: --from-start reads from the oldest message, --from-end "
                "only what comes from now on"
            )
        return self.unreadable(f"reading ends with {error.name()}")

    def unreadable(self, problem: str) -> SourceUnreadableError:
        """An error about this topic."""
        return SourceUnreadableError(source=f"kafka topic {self._address.topic}", problem=problem)

    def close(self) -> None:
        """Let go."""
        self._consumer.close()


def _code(error: Exception) -> str:
    return str(error.args[0].name()) if error.args and hasattr(error.args[0], "name") else type(error).__name__
