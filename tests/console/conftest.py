"""Installations for the tests of pages, and somebody signed in."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from headrace.control.tables import TablesStore

from .asgi import Client
from .sample import Sample, again, empty, filled
from .served import Visitor, application


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sample]:
    """Folder and facts of an installation at work, which is copied for each test."""
    folder = tmp_path_factory.mktemp("original")
    store = TablesStore(f"sqlite:///{folder}/control.db")
    made = filled(store)
    store.close()
    return folder, made


@pytest.fixture
def installation(original: tuple[Path, Sample], tmp_path: Path) -> Iterator[Sample]:
    """One at work, on SQLite."""
    folder, made = original
    for file in folder.iterdir():
        shutil.copy(file, tmp_path)
    store = TablesStore(f"sqlite:///{tmp_path}/control.db")
    yield again(made, store)
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


@pytest.fixture
def spanish(visit: Callable[..., Visitor]) -> Callable[..., Visitor]:
    """Signs somebody in who reads Spanish: as ``visit``."""

    def signed_in(sample: Sample, login: str = "admin") -> Visitor:
        visitor = visit(sample, login)
        visitor.post("/ui/preferences", language="es", next="/ui/settings")
        return visitor

    return signed_in
