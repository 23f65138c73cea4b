"""The text that names a topic: what it may hold, and what is said of the rest."""

from __future__ import annotations

import pytest

from headrace.errors import RefusedError
from headrace.sources.kafka import Address, parse


def test_every_parameter_is_taken() -> None:
    """Brokers, topic, group, start and the file of settings, each where it belongs."""
    found = parse(
        "kafka://a:9092,b.example:9092/my.topic-1?group=g&start=2026-01-31T14:30:00Z&config=/etc/k.properties"
    )
    assert found == Address("a:9092,b.example:9092", "my.topic-1", "g", "", 1_769_869_800_000, "/etc/k.properties")
    assert found.id == "kafka:g/my.topic-1"
    assert parse("kafka://a/t?start=LATEST") == Address("a", "t", "headrace", "latest")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kafka://", "does not name brokers and a topic"),
        ("kafka://a:9092", "does not name brokers and a topic"),
        ("kafka://a:9092/t/more", "does not name brokers and a topic"),
        ("kafka://user:hush@a:9092/t", "does not name brokers and a topic"),
        ("kafka://a/t?sasl.password=hush", r"sasl\.password.*allowed.*config"),
        ("kafka://a/t?start=yesterday", "start=yesterday.*earliest"),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str) -> None:
    """One error with what would be right, and without what may be a secret."""
    with pytest.raises(RefusedError, match=words) as caught:
        parse(text)
    assert "hush" not in str(caught.value)
