"""Servers shared by the tests of this folder, started when a test first asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import servers


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    with servers.moto() as url:
        yield url


@pytest.fixture(scope="session")
def kinesis_local_url() -> Iterator[str]:
    with servers.kinesis_local() as url:
        yield url
