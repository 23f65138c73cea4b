"""What the demo prints, and how it counts order."""

from __future__ import annotations

import io

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from headrace.cli.demo_view import DemoSummary, OrderCheck, show_message, show_summary
from headrace.core.message import metadata_part
from headrace.core.model import Cause

SUMMARY = DemoSummary(
    updates=17_326,
    refused_updates=5,
    profiles=5_011,
    exports=9_876,
    exports_by_trigger={"segment": 4_000, "attribute": 5_000},
    delivered=9_876,
    dead_lettered=0,
    possible_duplicates=0,
    read_back=9_876,
    order_violations=0,
    p50_ms=31.4,
    p99_ms=120.9,
    elapsed_s=3.2,
)


def message(seq: int, *, export_id: str | None = None, epoch: int = 1, cause: Cause | None = None) -> bytes:
    """A message whose block the core itself renders."""
    block = metadata_part(
        flow_id="f",
        profile_id=f"p{epoch}",
        export_id=export_id or f"{epoch}-{seq}",
        seq=seq,
        version=seq,
        epoch=epoch,
        config="1",
        cause=cause or Cause("live"),
    )
    return b'{"identityMap":{"ecid":[{"id":"1"}]},"_headrace":' + block + b"}"


def printed(data: bytes, names: dict[str, str] | None = None) -> str:
    """What ``show_message`` writes, without colours."""
    console = Console(file=io.StringIO(), width=150)
    show_message(console, "shardId-000000000001", "42", data, names)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def summed(summary: DemoSummary) -> str:
    """What ``show_summary`` writes, without colours."""
    console = Console(file=io.StringIO(), width=150)
    show_summary(console, summary)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_message_tells_where_it_lies_and_why_it_was_sent() -> None:
    """Shard, sequence, the audience's name, the written path and absorbed profiles are in words; the block is not."""
    cause = Cause("live", ["segment", "attribute"], ["loyalty.points"], ["ups/a"], ["ups/b"], ["0" * 32])
    text = printed(message(7, export_id="feedbeefcafe", cause=cause), {"ups/a": "High propensity to convert"})
    assert "shardId-000000000001 #42" in text
    assert "entered High propensity to convert; left ups/b; wrote loyalty.points; absorbed 1 profile" in text
    assert "export feedbeef… seq 7" in text
    assert '"ecid"' in text
    assert "_headrace" not in text


def test_a_message_without_block_says_so() -> None:
    """With metadata off the message is shown, and the missing cause is named."""
    text = printed(b'{"identityMap":{}}')
    assert "metadata off" in text
    assert '"identityMap"' in text


def test_what_is_no_message_is_shown_as_it_is() -> None:
    """Bytes of somebody else on the stream do not stop the demo, nor are they taken for markup."""
    for data in (b"\xff[bold]", b"[1]", b"", b"null"):
        assert "not a message" in printed(data)


def test_summary_shows_every_figure() -> None:
    """All figures are printed, with the verdicts of a good run."""
    text = summed(SUMMARY)
    for figure in ("17,326", "5,011", "9,876", "4,000", "5,000", "31 ms", "121 ms"):
        assert figure in text, figure
    assert "✗" not in text
    assert "headrace run --config" in text


def test_summary_names_what_went_wrong() -> None:
    """Missing deliveries, dead letters and lost order are marked, and the folder to look into is named."""
    bad = msgspec.structs.replace(
        SUMMARY, delivered=9_800, dead_lettered=70, order_violations=3, p50_ms=None, p99_ms=None, data_dir="/d"
    )
    text = summed(bad)
    assert text.count("✗") == 3
    assert "headrace dead-letters list --data-dir /d" in text
    assert " ms" not in text


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 6)), max_size=40))
def test_order_violations_are_counted_by_their_meaning(written: list[tuple[str, int]]) -> None:
    """A first sight of an export after a later one of the same key is a violation; repeats are none."""
    expected = 0
    for place, (key, seq) in enumerate(written):
        before = written[:place]
        if (key, seq) not in before:
            expected += any(other == key and later > seq for other, later in before)
    check = OrderCheck()
    for key, seq in written:
        check.add(key, message(seq, export_id=f"{key}{seq}"))
    assert check.violations == expected


def test_a_profile_made_again_starts_anew() -> None:
    """A later epoch may begin at seq 1 again; an unreadable message is counted apart."""
    check = OrderCheck()
    for data in (message(5), message(1, epoch=2), message(6), b"{}", b"no"):
        check.add("k", data)
    assert (check.read, check.violations, check.repeats, check.unreadable) == (5, 1, 0, 2)
