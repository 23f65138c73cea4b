"""How times, numbers, sizes and JSON are written, and what masking leaves."""

from __future__ import annotations

import pytest

from headrace.console import rendering
from headrace.console.masking import masked, masked_message


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (rendering.utc(1_767_225_600_000), "2026-01-01 00:00:00 UTC"),
        (rendering.utc(None), "—"),
        (rendering.in_bytes(0), "0 B"),
        (rendering.in_bytes(1536), "1.5 KiB"),
        (rendering.in_bytes(5 << 40), "5.0 TiB"),
        (rendering.number(1_234_567), "1\N{NARROW NO-BREAK SPACE}234\N{NARROW NO-BREAK SPACE}567"),
        (rendering.percent(1.0), "100 %"),
        (rendering.percent(0.99996), "99.99 %"),
        (rendering.percent(0.125), "12.5 %"),
        (rendering.duration(12), "12 ms"),
        (rendering.duration(2.5), "2.5 ms"),
        (rendering.duration(4), "4 ms"),
        (rendering.duration(1400), "1.4 s"),
        (rendering.duration(7_200_000), "2.0 h"),
        (rendering.span(0, 3_700_000), ("hour", 1)),
    ],
)
def test_written(written: object, expected: object) -> None:
    """As people read it; a share is never rounded up to all."""
    assert written == expected


def test_pretty_escapes() -> None:
    """What a profile holds cannot become markup."""
    text = str(rendering.pretty({"<b>": ["</pre><script>", 1, None]}))
    assert "<script" not in text
    assert "<b>" not in text


def test_masking_keeps_the_shape() -> None:
    """Values are hidden; memberships and what Headrace adds stay."""
    message = {
        "person": {"name": "Ada Lovelace", "age": 36, "vip": True},
        "segmentMembership": {"ups": {"S": {"status": "realized"}}},
        "identityMap": {"email": [{"id": "ada@example.com"}]},
        "_headrace": {"seq": 4},
    }
    hidden = masked_message(message)
    assert hidden["person"] == {"name": "A•••", "age": "•••", "vip": True}
    assert hidden["identityMap"] == {"email": [{"id": "a•••"}]}
    assert hidden["segmentMembership"] == message["segmentMembership"]
    assert hidden["_headrace"] == {"seq": 4}
    assert masked("abc") == "•••"
