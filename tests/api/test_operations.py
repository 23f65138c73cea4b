"""Every operation: its right answer on every store, and who is refused it."""

from __future__ import annotations

from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped]
import pytest

from headrace.api.shapes import COMPONENTS
from headrace.control import accounts, organisations
from headrace.control.access import Permission
from headrace.control.resources import Kind
from tests.control.plane import ANN, caller

from .cases import CASES, DECLARED, REFUSED_FOR_ALL, send
from .client import Client, as_account
from .world import World

SIGNED_IN = [name for name, each in DECLARED.items() if each.signed_in]


def code(answer: httpx.Response) -> str:
    """The error code of an answer."""
    found: str = answer.json()["errorCode"]
    return found


def conforms(answer: httpx.Response, schema: Any) -> None:
    """The body is of the schema."""
    root = {**schema, "components": {"schemas": COMPONENTS}}
    jsonschema.validate(answer.json(), root)


def client_with(w: World, permissions: set[Permission], sandbox: str = "prod") -> Client:
    """A client that has exactly these permissions."""
    name = f"role-{len(accounts.list_accounts(w.control, ANN, Kind.ROLE))}"
    accounts.create_role(w.control, ANN, {"name": name, "permissions": sorted(permissions)})
    account = accounts.create_client(w.control, ANN, {"name": name, "roles": [name]})
    return as_account(Client(w.app), account.id, account.secret.reveal(), sandbox)


def test_every_operation_has_a_case() -> None:
    """The list of operations without one is empty, and so is that of cases without an operation."""
    assert sorted(DECLARED.keys() ^ CASES.keys()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_right_request_is_answered_as_documented(stored: World, name: str) -> None:
    """With the status and the schema that OpenAPI says; the same on every store."""
    operation = DECLARED[name]
    answer = send(stored, name)
    if name in REFUSED_FOR_ALL:
        assert (answer.status_code, code(answer)) == (400, "1426-400")
        return
    assert answer.status_code == operation.status, answer.text
    if operation.answer is None:
        assert answer.content == b""
    else:
        assert answer.headers["content-type"] == "application/json"
        conforms(answer, operation.answer)


@pytest.mark.parametrize("name", SIGNED_IN)
def test_nobody_without_a_token(unchanged: World, name: str) -> None:
    """Without a token 403, with a wrong one 401; nothing is told of the resource."""
    for headers, expected in (
        ({}, "403010-403"),
        ({**unchanged.client.headers, "authorization": "Bearer x.y.z"}, "401013-401"),
    ):
        answer = send(unchanged, name, headers=headers)
        assert code(answer) == expected
        conforms(answer, {"$ref": "#/components/schemas/Problem"})


@pytest.mark.parametrize("name", SIGNED_IN)
def test_nobody_from_another_organisation(unchanged: World, name: str) -> None:
    """A token of one organisation says nothing in another, nor without an organisation or with another's API key."""
    for header, value, expected in (
        ("x-gw-ims-org-id", "OTHER@HeadraceOrg", "2000-401"),
        ("x-gw-ims-org-id", "", "2001-401"),
        ("x-api-key", unchanged.spare.id, "403003-403"),
        ("x-api-key", "", "403000-403"),
        ("x-sandbox-name", "nowhere", "2100-404"),
    ):
        answer = send(unchanged, name, headers={**unchanged.client.headers, header: value})
        assert code(answer) == expected, header


@pytest.mark.slow
@pytest.mark.parametrize("name", SIGNED_IN)
def test_nobody_without_the_permissions_and_everybody_with_them(w: World, name: str) -> None:
    """Without any one of what the docs say it needs, it is refused by its name; with exactly these it works."""
    needs = set(DECLARED[name].needs)
    assert needs
    for missing in needs:
        answer = send(w, name, client_with(w, set(Permission) - {missing}))
        assert code(answer) == "2120-403"
        assert missing.value in answer.json()["message"]
    # What a change of a flow needs depends on what it changes.
    more = {Permission.ACTIVATE_DESTINATIONS, Permission.VIEW_PROFILES, Permission.VIEW_SEGMENTS}
    answer = send(w, name, client_with(w, needs | (more if name == "patchFlow" else set())))
    assert answer.status_code == (400 if name in REFUSED_FOR_ALL else DECLARED[name].status), answer.text


@pytest.mark.parametrize("name", [name for name in SIGNED_IN if not CASES[name].everywhere])
def test_another_sandbox_shows_nothing(w: World, name: str) -> None:
    """The same request from another sandbox finds nothing: an empty list, or that there is no such resource."""
    case = CASES[name]
    more = case.more(w)
    headers = {**w.client.headers, **more.pop("headers", {}), "x-sandbox-name": "dev"}
    case.prepare(w)
    if case.body is not None:
        more["json"] = case.body(w)
    answer = Client(w.app, headers).request(DECLARED[name].method, case.path(w), **more)
    body = answer.json()
    if answer.status_code >= 400:
        assert body["errorCode"] in ("1101-404", "1430-400", "3000-400", "3016-503"), body
        assert "Ann" not in answer.text
        return
    assert [each for value in body.values() if isinstance(value, list) for each in value] == []
    assert not body.get("results")


def test_a_permission_that_is_taken_away_counts_at_once(w: World) -> None:
    """The next request of the same token is refused."""
    client = client_with(w, {Permission.VIEW_DESTINATIONS})
    path = CASES["listFlows"].path(w)
    assert client.get(path).status_code == 200
    (role,) = [each for each in accounts.list_accounts(w.control, ANN, Kind.ROLE) if each["name"].startswith("role-")]
    accounts.update_account(w.control, caller(), Kind.ROLE, role["id"], {"permissions": []})
    assert code(client.get(path)) == "2120-403"


def test_an_account_that_is_gone_is_nobody(w: World) -> None:
    """Its token is refused; and a sandbox that is made later is seen at once."""
    client = as_account(Client(w.app), w.spare.id, w.spare.secret.reveal())
    accounts.delete_account(w.control, ANN, Kind.CLIENT, w.spare.id)
    assert code(client.get(CASES["listFlows"].path(w))) == "401013-401"
    organisations.create_sandbox(w.control, ANN, {"name": "later"})
    assert w.client.get(CASES["listFlows"].path(w), headers={"x-sandbox-name": "later"}).status_code == 200
