"""Calls of use cases as tests make them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from headrace.control import base_connections
from headrace.control.resources import Kind, Resource
from headrace.control.service import Control
from headrace.errors import UseCaseError

from .plane import ANN


def refused(call: Callable[[], Any]) -> UseCaseError:
    """The error of a call that is refused."""
    with pytest.raises(UseCaseError) as error:
        call()
    return error.value


def places(call: Callable[[], Any]) -> list[str]:
    """Every place that is wrong in a request that is refused for its mistakes."""
    return [each.place for each in refused(call).mistakes]


def stored(control: Control, kind: Kind, resource_id: str) -> Resource:
    """A record as it is kept."""
    with control.store.read() as transaction:
        record = transaction.get(kind, ANN.scope, resource_id)
    assert record is not None
    return record


def changed(control: Control, connection_id: str, *operations: dict[str, Any]) -> Any:
    """Patch a base connection at its current version."""
    return base_connections.patch_connection(
        control, ANN, connection_id, list(operations), stored(control, Kind.CONNECTION, connection_id).etag
    )


def replaced(path: str, value: Any) -> dict[str, Any]:
    """An instruction that replaces."""
    return {"op": "replace", "path": path, "value": value}
