"""The embedded runtime keeps U1 to U5, in memory and on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtimes.contract import RuntimeContract
from tests.runtimes.road import Disk, MemoryDisk, RocksDisk


class TestInMemory(RuntimeContract):
    """U1 to U5 with power cuts that lose what was not synced."""

    @pytest.fixture
    def disk(self) -> Disk:
        return MemoryDisk()


class TestOnDisk(RuntimeContract):
    """U1 to U5 on RocksDB."""

    @pytest.fixture
    def disk(self, tmp_path: Path) -> Iterator[Disk]:
        disk = RocksDisk(tmp_path)
        yield disk
        disk.close()
