"""``headrace clients``, ``users``, ``roles``, ``sign-in-link``: accounts, by whoever has a shell on the machine."""

from __future__ import annotations

import contextlib
import getpass
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import typer

from headrace.cli.command import AsJson, DataDir, err, out, plain, settings_of
from headrace.errors import RefusedError, StateError

clients = typer.Typer(help="Clients of the REST API: an id and a secret each.")
users = typer.Typer(help="Users of the console: a login and a password each.")
roles = typer.Typer(help="What clients and users may do.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name, login or id.")]
Roles = Annotated[list[str] | None, typer.Option("--role", metavar="ROLE", help="Role that it has; repeatable.")]
Revoked = Annotated[list[str] | None, typer.Option("--revoke", metavar="ROLE", help="Role taken away; repeatable.")]


@contextlib.contextmanager
def _control(data_dir: Any) -> Iterator[tuple[Any, Any]]:
    from headrace.bootstrap.control import opened

    with opened(settings_of(data_dir)) as parts:
        yield parts


def _list(kind: str, data_dir: Any, *, as_json: bool) -> None:
    from headrace.cli.tables import show_accounts
    from headrace.control import accounts
    from headrace.control.resources import Kind

    with _control(data_dir) as (control, caller):
        found = accounts.list_accounts(control, caller, Kind(kind))
    found.sort(key=lambda each: str(each["name"]))
    if as_json:
        print(msgspec.json.encode(found).decode())
    else:
        show_accounts(out, found)


def _found(control: Any, caller: Any, kind: str, name: str) -> dict[str, Any]:
    from headrace.control import accounts
    from headrace.control.resources import Kind

    every = accounts.list_accounts(control, caller, Kind(kind))
    matching = [each for each in every if name in (each["id"], each["name"])]
    if len(matching) != 1:
        names = ", ".join(sorted(str(each["name"]) for each in every)) or "none"
        problem = "there are several" if matching else "there is no"
        raise RefusedError(f"{problem} {kind[:-1]} {name!r}; {kind}: {names} (ids: headrace {kind} list)")
    return matching[0]


def _show(account: Any, kind: str, *, as_json: bool) -> None:
    """A new secret: shown now and never again."""
    shown = {"id": account.id, "name": account.name, "secret": account.secret.reveal()}
    if as_json:
        print(msgspec.json.encode(shown).decode())
        return
    word = "password" if kind == "users" else "client secret"
    print(f"{'login' if kind == 'users' else 'client id':14}{account.name if kind == 'users' else account.id}")
    print(f"{word:14}{shown['secret']}")
    print("It is shown now and never again.")


def _grant(kind: str, name: str, given: list[str] | None, revoked: list[str] | None, data_dir: Any, key: str) -> None:
    from headrace.control import accounts
    from headrace.control.resources import Kind

    if not given and not revoked:
        raise RefusedError("nothing is granted and nothing revoked; see --help")
    with _control(data_dir) as (control, caller):
        found = _found(control, caller, kind, name)
        wanted = [each for each in dict.fromkeys([*found[key], *(given or [])]) if each not in (revoked or [])]
        made = accounts.update_account(control, caller, Kind(kind), found["id"], {key: wanted})
    out.print(plain(f"{made['name']}: {', '.join(made[key]) or 'none'}"))


def _delete(kind: str, name: str, data_dir: Any) -> None:
    from headrace.control import accounts
    from headrace.control.resources import Kind

    with _control(data_dir) as (control, caller):
        found = _found(control, caller, kind, name)
        accounts.delete_account(control, caller, Kind(kind), found["id"])
    out.print(plain(f"deleted {found['name']}"))


def _secret(kind: str, name: str, data_dir: Any, password: str | None, *, as_json: bool) -> None:
    from headrace.control import accounts
    from headrace.control.resources import Kind

    with _control(data_dir) as (control, caller):
        found = _found(control, caller, kind, name)
        made = accounts.new_secret(control, caller, Kind(kind), found["id"], password)
    if password is None:
        _show(made, kind, as_json=as_json)
    else:
        out.print(plain(f"{made.name} has a new password"))


@clients.command("list")
def clients_list(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the clients."""
    _list("clients", data_dir, as_json=as_json)


@clients.command("create")
def clients_create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    role: Roles = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a client; its secret is shown once."""
    from headrace.control import accounts

    with _control(data_dir) as (control, caller):
        made = accounts.create_client(control, caller, {"name": name, "roles": role or []})
    _show(made, "clients", as_json=as_json)
    if not role:
        err.print(plain(f"It may do nothing until it gets a role: headrace clients grant {name} --role ROLE"))


@clients.command("grant")
def clients_grant(name: Name, role: Roles = None, revoke: Revoked = None, data_dir: DataDir = None) -> None:
    """Give a client roles, or take them away; it counts with its next call."""
    _grant("clients", name, role, revoke, data_dir, "roles")


@clients.command("reset-secret")
def clients_reset(name: Name, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Give a client a new secret, shown once; the old one and its tokens end at once."""
    _secret("clients", name, data_dir, None, as_json=as_json)


@clients.command("delete")
def clients_delete(name: Name, data_dir: DataDir = None) -> None:
    """Delete a client; its tokens end at once."""
    _delete("clients", name, data_dir)


@users.command("list")
def users_list(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the users."""
    _list("users", data_dir, as_json=as_json)


AskPassword = Annotated[
    bool, typer.Option("--password", help="Ask for the password, or read it from standard input; else one is made.")
]


def _password() -> str:
    """What is typed, twice, or one line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first, second = getpass.getpass("Password: "), getpass.getpass("Once more: ")
    if first != second:
        raise RefusedError("the two differ")
    return first


@users.command("create")
def users_create(
    name: Annotated[str, typer.Argument(metavar="LOGIN", help="Login.")],
    role: Roles = None,
    password: AskPassword = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a user; a password that was made is shown once."""
    from headrace.control import accounts

    body: dict[str, Any] = {"name": name, "roles": role or []}
    if password:
        body["password"] = _password()
    with _control(data_dir) as (control, caller):
        made = accounts.create_user(control, caller, body)
    if password:
        out.print(plain(f"made {made.name}"))
    else:
        _show(made, "users", as_json=as_json)


@users.command("grant")
def users_grant(name: Name, role: Roles = None, revoke: Revoked = None, data_dir: DataDir = None) -> None:
    """Give a user roles, or take them away; it counts with the next page."""
    _grant("users", name, role, revoke, data_dir, "roles")


@users.command("reset-secret")
def users_reset(name: Name, password: AskPassword = False, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Give a user a new password; the old one and its sessions end at once."""
    _secret("users", name, data_dir, _password() if password else None, as_json=as_json)


@users.command("delete")
def users_delete(name: Name, data_dir: DataDir = None) -> None:
    """Delete a user; its sessions end at once."""
    _delete("users", name, data_dir)


Permissions = Annotated[
    list[str] | None, typer.Option("--permission", metavar="NAME", help="Permission that it holds; repeatable.")
]


@roles.command("list")
def roles_list(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the roles with their permissions."""
    _list("roles", data_dir, as_json=as_json)


@roles.command("create")
def roles_create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name.")],
    permission: Permissions = None,
    data_dir: DataDir = None,
) -> None:
    """Make a role of permissions."""
    from headrace.control import accounts

    with _control(data_dir) as (control, caller):
        made = accounts.create_role(control, caller, {"name": name, "permissions": permission or []})
    out.print(plain(f"{made['name']}: {', '.join(made['permissions']) or 'none'}"))


@roles.command("grant")
def roles_grant(
    name: Name,
    permission: Permissions = None,
    revoke: Annotated[
        list[str] | None, typer.Option("--revoke", metavar="NAME", help="Permission taken away; repeatable.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Put permissions into a role, or take them out; it counts at once for all who have it."""
    _grant("roles", name, permission, revoke, data_dir, "permissions")


@roles.command("delete")
def roles_delete(name: Name, data_dir: DataDir = None) -> None:
    """Delete a role that nobody has."""
    _delete("roles", name, data_dir)


def sign_in_link(
    login: Annotated[str, typer.Argument(metavar="LOGIN", help="User who is signed in by it.")] = "admin",
    data_dir: DataDir = None,
) -> None:
    """Print a link that signs a user in to the console, once and within ten minutes."""
    from headrace.control import links

    loaded = settings_of(data_dir)
    with _control(data_dir) as (control, caller):
        link = links.create_link(control, caller, login)
    print(_console(loaded) + link.path.reveal())


def _console(loaded: Any) -> str:
    """URL of the console: as the server that runs says it, else as the settings do."""
    from headrace.bootstrap.runtime import SocketRuntime

    if loaded.public_url:
        return str(loaded.public_url).rstrip("/")
    with contextlib.suppress(StateError, RefusedError):
        if found := SocketRuntime(loaded.data_dir).ask("addresses").get("api"):
            return str(found)
    return f"{'https' if loaded.api_certificate else 'http'}://{loaded.api_host}:{loaded.api_port}"
