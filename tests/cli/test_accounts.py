"""The commands about accounts, on a control plane that nobody serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.control import links, sessions
from headrace.errors import UseCaseError
from headrace.settings import Secret
from tests.bootstrap.installed import installed
from tests.cli.commands import headrace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def test_a_clients_life(tmp_path: Path) -> None:
    """Made with a role, listed, given another role, its secret made anew, deleted."""
    _, control, _ = installed(tmp_path)
    made = headrace("clients", "create", "loader", "--role", "viewer", "--json", data=tmp_path).json
    assert sessions.sign_in_client(control, made["id"], Secret(made["secret"])).expires_in_s > 0
    said = headrace("clients", "grant", "loader", "--role", "activator", "--revoke", "viewer", data=tmp_path)
    assert said.out == "loader: activator\n"
    listed = {each["name"]: each for each in headrace("clients", "list", "--json", data=tmp_path).json}
    assert listed["loader"]["roles"] == ["activator"]
    assert listed["loader"]["id"] == made["id"]
    assert made["secret"] not in str(listed)
    anew = headrace("clients", "reset-secret", made["id"], "--json", data=tmp_path).json
    with pytest.raises(UseCaseError):
        sessions.sign_in_client(control, made["id"], Secret(made["secret"]))
    assert sessions.sign_in_client(control, made["id"], Secret(anew["secret"])).expires_in_s > 0
    assert headrace("clients", "delete", "loader", data=tmp_path).code == 0
    assert "loader" not in headrace("clients", "list", data=tmp_path).out
    wrong = headrace("clients", "delete", "loader", data=tmp_path)
    assert wrong.code == 2
    assert "there is no client 'loader'; clients: admin" in wrong.err.replace("\n", " ")


def test_a_client_without_a_role_may_do_nothing_and_that_is_said(tmp_path: Path) -> None:
    """With the command that gives it one; with a role nothing of it is said."""
    installed(tmp_path)
    assert "headrace clients grant idle --role ROLE" in headrace("clients", "create", "idle", data=tmp_path).err
    assert headrace("clients", "create", "busy", "--role", "viewer", data=tmp_path).err == ""


def test_users_roles_and_links(tmp_path: Path) -> None:
    """A user with a password from standard input and a role of its own; a link signs the user in once."""
    _, control, _ = installed(tmp_path)
    assert headrace("roles", "create", "reader", "--permission", "View Destinations", data=tmp_path).code == 0
    password = "correct horse battery"
    said = headrace(
        "users", "create", "Ann", "--role", "reader", "--password", data=tmp_path, stdin=password.encode() + b"\n"
    )
    assert said.code == 0, said.err
    assert password not in said.out
    assert sessions.sign_in_user(control, "ann", Secret(password)).expires_in_s > 0
    said = headrace("sign-in-link", "ann", data=tmp_path, env={"HEADRACE_PUBLIC_URL": "https://h.example/"})
    assert said.out.startswith("https://h.example/ui/sign-in/")
    token = said.out.strip().rpartition("/")[2]
    assert links.redeem_link(control, token).expires_in_s > 0
    with pytest.raises(UseCaseError):
        links.redeem_link(control, token)
    in_use = headrace("roles", "delete", "reader", data=tmp_path)
    assert in_use.code == 2
    assert "is still that of Ann" in in_use.err
    said = headrace("roles", "grant", "reader", "--permission", "View Segments", data=tmp_path)
    assert said.out == "reader: View Destinations, View Segments\n"
    assert headrace("users", "delete", "Ann", data=tmp_path).code == 0
    assert headrace("roles", "delete", "reader", data=tmp_path).code == 0
    assert "administrator" in headrace("roles", "list", data=tmp_path).out


def test_mistakes_are_one_message(tmp_path: Path) -> None:
    """No control plane yet, an unknown role, the last administrator: each is told with what to do."""
    none = headrace("users", "list", data=tmp_path)
    assert none.code == 2
    assert "headrace serve" in none.err
    installed(tmp_path)
    unknown = headrace("clients", "create", "x", "--role", "king", data=tmp_path)
    assert unknown.code == 2
    assert "administrator" in unknown.err
    headrace("clients", "delete", "admin", data=tmp_path)
    last = headrace("users", "delete", "admin", data=tmp_path)
    assert last.code == 2
    assert "Manage Access" in last.err
    assert headrace("clients", "grant", "x", data=tmp_path).code == 2
