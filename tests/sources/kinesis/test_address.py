"""The text that names a stream: what it may hold, and what is said of the rest."""

from __future__ import annotations

import pytest

from headrace.errors import RefusedError
from headrace.sources.kinesis import parse
from headrace.sources.kinesis.address import AT_TIMESTAMP, LATEST, Start


def test_every_parameter_is_taken() -> None:
    """Region, endpoint, keys' whereabouts and the start, each where it belongs."""
    found = parse(
        "kinesis://my.stream-1_a?region=eu-west-1&endpoint=http://127.0.0.1:4567&profile=p&role=arn:aws:iam::1:role/r"
        "&external-id=x&start=2026-01-31T14:30:00Z&source=profile&ca-file=/a/b.pem&proxy=none", {}
    )  # fmt: skip
    assert found.stream == "my.stream-1_a"
    assert found.auth == {
        "region": "eu-west-1", "endpointUrl": "http://127.0.0.1:4567", "profile": "p",
        "roleArn": "arn:aws:iam::1:role/r", "externalId": "x", "source": "profile", "caFile": "/a/b.pem",
        "proxyUrl": "none",
    }  # fmt: skip
    assert found.start == Start(AT_TIMESTAMP, 1_769_869_800_000)
    assert found.id == "kinesis:eu-west-1/my.stream-1_a"


def test_the_region_may_come_from_the_environment() -> None:
    """As AWS tools take it."""
    assert parse("kinesis://s?start=latest", {"AWS_REGION": "us-east-2"}).auth == {"region": "us-east-2"}
    assert parse("kinesis://s", {"AWS_DEFAULT_REGION": "us-east-2"}).id == "kinesis:us-east-2/s"
    assert parse("kinesis://s?region=eu-west-1&start=LATEST", {"AWS_REGION": "a"}).start == Start(LATEST)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kinesis://", "does not name a stream"),
        ("kinesis://a b?region=eu-west-1", "does not name a stream"),
        ("kinesis://s/path?region=eu-west-1", "does not name a stream"),
        ("kinesis://s", "names no region"),
        ("kinesis://s?region=eu-west-1&strat=latest", "strat.*allowed.*start"),
        ("kinesis://s?region=eu-west-1&start=yesterday", "start=yesterday.*trim-horizon"),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str) -> None:
    """One error with what would be right."""
    with pytest.raises(RefusedError, match=words):
        parse(text, {})
