"""What holds after every test of the core."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headrace.core.model import NOTHING


@pytest.fixture(autouse=True)
def _nothing_stays_nothing() -> Iterator[None]:
    """Many values share one empty list: whoever adds to it would change them all."""
    yield
    assert NOTHING == []
