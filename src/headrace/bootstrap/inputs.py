"""Sources by their names on the command line: a file, standard input, a stream of Kinesis, a topic of Kafka."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from headrace import settings
from headrace.errors import RefusedError
from headrace.sources.base import Source
from headrace.sources.jsonl import JsonLines
from headrace.sources.kafka import parse as parse_kafka
from headrace.sources.kafka.address import SCHEME as KAFKA
from headrace.sources.kinesis import parse as parse_kinesis
from headrace.sources.kinesis.address import SCHEME as KINESIS

Begin = Literal["resume", "start", "end"]


def make_inputs(names: Sequence[str], *, follow: bool, begin: Begin = "resume") -> list[Source]:
    """A source for each name.

    Args:
        names: ``kinesis://STREAM?…``, ``kafka://BROKERS/TOPIC?…``, a path, or ``-``.
        follow: Wait for more at the end.
        begin: Where to begin in each.

    Raises:
        RefusedError: A name is none, or two name the same.
    """
    sources = [_make(name, follow=follow, begin=begin) for name in names]
    if len({source.id for source in sources}) < len(sources):
        raise RefusedError("an --input is given twice; give each once")
    return sources


def _make(name: str, *, follow: bool, begin: Begin) -> Source:
    if name.startswith(KINESIS):
        from headrace.sources.kinesis.source import KinesisSource

        return KinesisSource(parse_kinesis(name, settings.environment()), follow=follow, begin=begin)
    if name.startswith(KAFKA):
        from headrace.sources.kafka.source import KafkaSource

        return KafkaSource(parse_kafka(name), follow=follow, begin=begin)
    scheme, found, _ = name.partition("://")
    if found:
        raise RefusedError(f"{scheme}:// is no kind of input (allowed: a path, -, {KINESIS}, {KAFKA})")
    return JsonLines(name, follow=follow, start=begin)
