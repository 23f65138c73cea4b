"""docs/sources.md names what the code has."""

from __future__ import annotations

from pathlib import Path

from headrace.sources import arrivals, heads, http, lines, problems, trail

DOCS = (Path(__file__).parents[2] / "docs" / "sources.md").read_text()


def test_every_problem_is_documented() -> None:
    """Each error of the listener stands in the table with its status."""
    rows = {row.split("|")[1].strip(): row for row in DOCS.splitlines() if row.startswith("| ")}
    for code, (status, _) in problems.PROBLEMS.items():
        assert f"`{code}`" in DOCS, code
        assert str(status) in rows, code


def test_limits_are_documented() -> None:
    """The limits in the text are those of the code."""
    assert f"{http.MAX_BODY_BYTES:,} bytes and a batch {http.MAX_MESSAGES:,} messages" in DOCS
    assert f"the queue ({http.QUEUE_BYTES >> 20} MiB)" in DOCS
    assert http.MAX_BODY_BYTES * 2 + arrivals.OVERHEAD_BYTES < http.QUEUE_BYTES
    assert f"first {lines.HEAD_BYTES >> 10} KiB" in DOCS
    assert f"headers take over {heads.HEAD_BYTES >> 10} KiB" in DOCS
    assert (trail.FIRST_BYTES, f"the last {trail.LAST_BYTES >> 10} KiB" in DOCS) == (1 << 20, True)
