"""The metrics' page."""

from __future__ import annotations

from pathlib import Path

from headrace import metrics


def test_the_page_of_the_metrics_is_current() -> None:
    """docs/metrics.md is what the list says; after a change, write ``metrics.page()`` there."""
    assert (Path(__file__).parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8") == metrics.page()
