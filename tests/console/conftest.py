"""Installations for the tests of pages, and somebody signed in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from headrace.control.tables import TablesStore

from .asgi import Client
from .sample import Sample, empty, filled
from .served import Visitor, application


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Sample]:
    """One at work, on SQLite."""
    store = TablesStore(f"sqlite:///{tmp_path}/control.db")
    yield filled(store)
    store.close()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Sample]:
    """One after its first start, on SQLite."""
    store = TablesStore(f"sqlite:///{tmp_path}/control.db")
    yield empty(store)
    store.close()


@pytest.fixture
def visit() -> Iterator[Callable[..., Visitor]]:
    """Signs somebody in to an installation: ``visit(sample)`` the administrator, ``visit(sample, "viewer")``."""
    opened: list[httpx.Client] = []

    def signed_in(sample: Sample, login: str = "admin") -> Visitor:
        client = Client(application(sample))
        opened.append(client)
        visitor = Visitor(client)
        if login:
            secret = sample.first.user.secret.reveal()
            answer = visitor.sign_in(login, secret) if login == "admin" else visitor.sign_in(login)
            assert answer.status_code == 303, answer.text
        return visitor

    yield signed_in
    for client in opened:
        client.close()
