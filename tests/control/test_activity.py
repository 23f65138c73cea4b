"""The audit log has every change with what was before and after, only grows, and holds no secret."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import logging
import sqlite3
import urllib.parse
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from headrace.control import accounts, activity, base_connections, flows, sessions
from headrace.control.auth import opened
from headrace.control.paging import Listing
from headrace.control.publish import publish, read
from headrace.control.resources import MASK, Kind
from headrace.control.secrets import Sealer
from headrace.control.store import Store
from headrace.control.tables import TablesStore
from headrace.errors import HeadraceError, UseCaseError
from headrace.settings import Secret
from tests.postgres import new_database

from .plane import ANN, SECRET, caller, connection_body, one_of_each, plane, started


def test_every_change_has_its_line(store: Store) -> None:
    """Who, through what, which action on what, before and after; refused changes have none."""
    control = plane(store)
    made = one_of_each(control)
    flows.act_on_flow(control, ANN, made.flow, "disable")
    with pytest.raises(UseCaseError):
        flows.act_on_flow(control, ANN, made.flow, "restart")
    flows.delete_flow(control, ANN, made.flow)
    page = activity.list_activity(control, ANN, resource_id=made.flow)
    assert [each["action"] for each in page.items] == ["delete", "disable", "create"]
    deleted, disabled, created = page.items
    assert (created["before"], deleted["after"]) == (None, None)
    assert (disabled["before"]["state"], disabled["after"]["state"]) == ("enabled", "disabled")
    assert deleted["before"] == disabled["after"]
    assert (created["subject"], created["client"], created["kind"], created["name"]) == (
        "ann",
        "key",
        "flows",
        "Flow",
    )
    assert len(activity.list_activity(control, ANN).items) == 8
    (connection,) = activity.list_activity(control, ANN, resource_id=made.connection).items
    assert connection["after"]["auth"]["params"]["secretKey"] == MASK


def test_the_log_is_gone_through_and_narrowed(store: Store) -> None:
    """Parts put together are the whole; another sandbox and the organisation are apart."""
    control, _ = started(store)
    one_of_each(control)
    whole = activity.list_activity(control, ANN).items
    parts: list[Any] = []
    before = None
    while True:
        page = activity.list_activity(control, ANN, limit=2, before=before)
        parts += page.items
        before = page.before
        if before is None:
            break
    assert parts == whole
    assert len(whole) == 6
    assert activity.list_activity(control, caller(sandbox="dev")).items == []
    everything = activity.list_activity(control, ANN, organisation=True, limit=1000).items
    assert {each["kind"] for each in everything} > {each["kind"] for each in whole}
    now_ms = control.clock.now_ms()
    assert activity.list_activity(control, ANN, kind="flows", action="create", subject="ann", from_ms=now_ms).items
    assert activity.list_activity(control, ANN, to_ms=now_ms).items == []
    for limit in (0, 1001):
        with pytest.raises(UseCaseError):
            activity.list_activity(control, ANN, limit=limit)


def test_signing_in_to_the_console_is_logged(store: Store) -> None:
    """With the account that did."""
    control, first = started(store)
    sessions.sign_in_user(control, "admin", first.user.secret)
    line = activity.list_activity(control, ANN, organisation=True).items[0]
    assert (line["action"], line["subject"]) == ("sign-in", first.user.id)


def test_sqlite_itself_keeps_the_log(tmp_path: Path) -> None:
    """Changing or deleting a line fails, whoever tries."""
    store = TablesStore(f"sqlite:///{tmp_path}/control.db")
    one_of_each(plane(store))
    store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "control.db")) as connection:
        for statement in ("UPDATE audit SET subject = 'x'", "DELETE FROM audit"):
            with pytest.raises(sqlite3.IntegrityError, match="only grows"):
                connection.execute(statement)


@pytest.mark.postgres
def test_postgresql_itself_keeps_the_log(postgres: str) -> None:
    """Changing, deleting or truncating fails."""
    url = new_database(postgres, "audit")
    store = TablesStore(url)
    one_of_each(plane(store))
    store.close()
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))
    for statement in ("UPDATE audit SET subject = 'x'", "DELETE FROM audit", "TRUNCATE audit"):
        with engine.connect() as connection, pytest.raises(sa.exc.DBAPIError, match="only grows"):
            connection.execute(sa.text(statement))
    engine.dispose()


def forms(secret: str) -> list[bytes]:
    """A secret as it might lie somewhere: as it is, in base64, for URLs, in hexadecimal, hashed."""
    raw = secret.encode()
    found = [raw, raw.hex().encode(), urllib.parse.quote(secret, safe="").encode(), msgspec.json.encode(secret)[1:-1]]
    found += [encode(raw).rstrip(b"=") for encode in (base64.b64encode, base64.urlsafe_b64encode)]
    for name in ("md5", "sha1", "sha256", "sha512"):
        digest = hashlib.new(name, raw)
        found += [digest.hexdigest().encode(), digest.digest(), base64.b64encode(digest.digest()).rstrip(b"=")]
    return found


def holds(content: bytes, secrets: list[str]) -> list[bytes]:
    """The forms of the secrets that a content holds."""
    return [form for secret in secrets for form in forms(secret) if form in content]


def test_no_secret_is_stored_shown_or_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the database's files nor answers, errors, audit log and log hold one; a planted one is found."""
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "control.db"
    store = TablesStore(f"sqlite:///{path}")
    control, first = started(store)
    made = one_of_each(control)
    shown: list[Any] = []
    etag = base_connections.get_connection(control, ANN, made.connection)["etag"]
    second = "second/secret+of=mine"
    patch = [{"op": "replace", "path": "/auth/params/secretKey", "value": second}]
    base_connections.patch_connection(control, ANN, made.connection, patch, etag)
    for body in (
        connection_body(region="nowhere!"),
        connection_body(secretKey=SECRET + " "),
        connection_body(extra=1),
        {**connection_body(), "name": None},
    ):
        with pytest.raises(HeadraceError) as error:
            base_connections.create_connection(control, ANN, body)
        shown += [str(error.value), repr(error.value), error.value.mistakes]  # type: ignore[attr-defined]
    password = "correct horse battery"
    accounts.create_user(control, ANN, {"name": "bob", "roles": ["viewer"], "password": password})
    token = sessions.sign_in_user(control, "bob", Secret(password))
    shown += [
        base_connections.list_connections(control, ANN, Listing()).items,
        flows.list_flows(control, ANN, Listing()).items,
    ]
    shown += [
        activity.list_activity(control, ANN, organisation=True, limit=1000).items,
        accounts.list_accounts(control, ANN, Kind.USER),
    ]
    with store.read() as transaction:
        configuration = publish(
            read(transaction, ANN.scope), control.catalog.destinations, lambda each: opened(control, each)
        )
    shown += [repr(configuration), configuration.canonical.decode(), repr(control), repr(token), repr(first)]
    secrets = [SECRET, second, password, first.user.secret.reveal(), first.client.secret.reveal()]
    answers = msgspec.json.encode(shown)
    files = b"".join(each.read_bytes() for each in tmp_path.iterdir())
    assert len(files) > 10_000
    assert holds(files, secrets) == []
    assert holds(answers, [*secrets, token.text.reveal()]) == []
    assert holds(caplog.text.encode(), secrets) == []
    planted = {"name": "planted", "description": SECRET, "connectionSpec": connection_body()["connectionSpec"]}
    base_connections.create_connection(control, ANN, connection_body() | planted)
    store.close()
    assert holds(b"".join(each.read_bytes() for each in tmp_path.iterdir()), secrets)


def test_secrets_are_sealed_anew_under_a_new_key(store: Store) -> None:
    """After it the old key can go; a missing key changes nothing."""
    old, new = bytes(range(32)), bytes(32)
    control = plane(store)
    made = one_of_each(control)
    without_old = msgspec.structs.replace(control, sealer=Sealer([new]))
    with pytest.raises(UseCaseError) as error:
        accounts.seal_anew(without_old, ANN)
    assert error.value.error_code == "3010-503"
    both = msgspec.structs.replace(control, sealer=Sealer([new, old]))
    assert accounts.seal_anew(both, ANN) == 1
    assert accounts.seal_anew(both, ANN) == 0
    with store.read() as transaction:
        record = transaction.get(Kind.CONNECTION, ANN.scope, made.connection)
    assert record is not None
    assert opened(without_old, record)["secretKey"].reveal() == SECRET


def test_a_database_that_cannot_be_opened_is_told_without_its_password(tmp_path: Path) -> None:
    """Wrong URLs, folders that are not there, databases of other kinds, a newer schema."""
    for url in (
        "nonsense",
        "sqlite://",
        f"sqlite:///{tmp_path}/none/control.db",
        "mysql://user:hidden@localhost/x",
        "postgresql://user:hidden@127.0.0.1:1/x",
    ):
        with pytest.raises(HeadraceError) as error:
            TablesStore(url)
        assert "hidden" not in str(error.value) + repr(error.value.__cause__)
    store = TablesStore(f"sqlite:///{tmp_path}/control.db")
    store.close()
    assert (tmp_path / "control.db").stat().st_mode & 0o077 == 0
    with contextlib.closing(sqlite3.connect(tmp_path / "control.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(HeadraceError, match="9999"):
        TablesStore(f"sqlite:///{tmp_path}/control.db")
