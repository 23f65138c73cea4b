"""What several tests of runtimes are given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtimes.road import Disk, MemoryDisk, RocksDisk


@pytest.fixture(params=["memory", "rocksdb"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """Both states."""
    made: Disk = MemoryDisk() if request.param == "memory" else RocksDisk(tmp_path)
    yield made
    made.close()
