"""Generated requests, right and wrong, for every operation: no 5xx, no status and no body that OpenAPI does not name.

Half of them name resources that are there, so that they reach what lies behind; removing is left to names at random.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from headrace.control.tables import TablesStore
from tests.postgres import new_database

from .cases import CASES as RIGHT
from .cases import DECLARED
from .client import BASE
from .test_operations import conforms
from .world import World, world

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DOCUMENT = json.loads((Path(__file__).resolve().parents[2] / "docs" / "openapi.json").read_text(encoding="utf-8"))
CHECKS: Any = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
CASES = 6
"""Requests for each operation, on each kind of store."""


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def lasting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world that all generated requests share, in a database of each kind."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('generated')}/control.db"
    else:
        url = new_database(request.getfixturevalue("postgres"), "generated")
    store = TablesStore(url)
    yield world(store)
    store.close()


@pytest.fixture(scope="module")
def generating(lasting: World) -> Any:
    """The document of that world, from which requests are generated."""
    return schemathesis.openapi.from_asgi("/openapi.json", lasting.app)


def real(w: World, path: str) -> dict[str, str]:
    """Parameters of a path that name what is there."""
    found = {
        f"{BASE}/connections/": w.made.platform,
        f"{BASE}/sourceConnections/": w.made.source,
        f"{BASE}/targetConnections/": w.made.target,
        f"{BASE}/flows/": w.made.flow,
        f"{BASE}/runs/": w.run,
        "/data/core/ups/": w.made.segment,
        "/headrace/connections/": w.made.connection,
        "/headrace/flows/": w.made.flow,
        "/headrace/clients/": w.spare.id,
        "/headrace/users/": w.user.id,
        "/headrace/roles/": w.role,
    }
    ids = [value for prefix, value in found.items() if path.startswith(prefix)]
    names = {"run": w.backfill, "letter": w.letter, "action": "pause", "name": "prod"}
    return {"id": ids[0], **names} if ids else names


def test_every_operation_is_generated() -> None:
    """As the document has them."""
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    results: list[Any] = list(schema.get_all_operations())
    found = [each.ok().definition.raw["operationId"] for each in results]
    assert sorted(found) == sorted(DECLARED)


@pytest.mark.parametrize("name", DECLARED)
def test_no_5xx_and_nothing_undocumented(lasting: World, generating: Any, name: str, soak: bool) -> None:
    """Whatever is sent."""
    operation = generating.find_operation_by_id(name)
    headers = dict(lasting.client.headers) if DECLARED[name].signed_in else {}

    seen = 0

    @settings(
        max_examples=CASES * 50 if soak else CASES, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(), there=st.booleans())
    def send(case: Any, there: bool) -> None:
        if there and operation.method.upper() != "DELETE":
            names = case.path_parameters or {}
            case.path_parameters = {**names, **{k: v for k, v in real(lasting, operation.path).items() if k in names}}
        nonlocal seen
        answer = case.call(headers=headers)
        seen += 1
        case.validate_response(answer, checks=CHECKS)

    send()
    assert seen


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
    | st.sampled_from(["", "****", "a" * 5000, "\x1f", "é", "1.0", "2026-01-01", -1, 2**70]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a body."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, each in inner for place in places(each, (*at, key)))]


def put(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    """The body with another value at a place."""
    if not at:
        return new
    changed = value.copy()
    changed[at[0]] = put(value[at[0]], at[1:], new)
    return changed


@pytest.mark.parametrize("name", [name for name, each in RIGHT.items() if each.body is not None])
def test_a_right_body_with_one_wrong_place(lasting: World, name: str, soak: bool) -> None:
    """What nearly is right reaches deepest: still no 5xx and nothing undocumented."""
    case = RIGHT[name]
    operation = DECLARED[name]
    assert case.body is not None
    body = case.body(lasting)
    expected = {operation.status, *operation.statuses} - {500, 503}

    @settings(
        max_examples=CASES * 50 if soak else CASES, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(at=st.sampled_from(places(body)), new=VALUES)
    def send(at: tuple[Any, ...], new: Any) -> None:
        raw = msgspec.json.encode(put(body, at, new))
        more = case.more(lasting)
        answer = lasting.client.request(operation.method, case.path(lasting), content=raw, **more)
        assert answer.status_code in expected, answer.text
        if answer.status_code >= 400:
            conforms(answer, {"$ref": "#/components/schemas/Problem"})

    send()
