"""No secret that the API was ever given lies anywhere that somebody can look; a planted one is found."""

from __future__ import annotations

import base64
import logging
import re
from typing import Any

import pytest
import sqlalchemy as sa

from headrace.control.resources import MASK
from headrace.control.store import Store
from headrace.control.tables import TablesStore
from tests.control.plane import SECRET, connection_body
from tests.control.test_activity import forms, holds

from .client import BASE, TOKEN, Client, form
from .world import World, world

SECOND = "second/secret+of=mine&more"
SESSION = "session/token+FwoGZXIvYXdzEBYaD=="
PASSWORD = "correct horse battery staple"


def decoded(content: bytes) -> bytes:
    """A content with what its base64 texts hold, twice over, beside it."""
    found = [content]
    for _ in range(2):
        inner = []
        for text in re.findall(rb"[A-Za-z0-9+/_-]{16,}", found[-1]):
            for start in range(4):
                part = text[start:].translate(bytes.maketrans(b"-_", b"+/"))
                inner.append(base64.b64decode(part[: len(part) // 4 * 4]))
        found.append(b"\n".join(inner))
    return b"\n".join(found)


def database(store: TablesStore) -> bytes:
    """Every value of every table."""
    engine = store._engine
    tables = sa.inspect(engine).get_table_names()
    assert len(tables) >= 3
    with engine.connect() as connection:
        rows = [row for table in tables for row in connection.execute(sa.text(f'SELECT * FROM "{table}"'))]
    return b"\n".join(value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row)


class Kept:
    """A client that keeps everything that it was answered."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.seen: list[bytes] = []

    def send(self, method: str, path: str, **more: Any) -> Any:
        """Send, keep, and give the answer's JSON."""
        answer = self.client.request(method, path, **more)
        self.seen += [answer.content, repr(answer.headers.raw).encode()]
        return answer.json() if answer.content else None


def wrong_bodies() -> list[Any]:
    """Connections that are refused, each with a secret in it."""
    right = connection_body(secretKey=SECOND, sessionToken=SESSION)
    return [
        connection_body(region="nowhere!", secretKey=SECOND),
        connection_body(secretKey=SECOND + "\n", sessionToken=SESSION),
        connection_body(secretKey=[SECOND]),
        connection_body(secretKey={"value": SECOND}),
        connection_body(secretKey=SECOND, endpointUrl="http://169.254.169.254/latest"),
        connection_body(secretKey=SECOND, extra=1),
        {**right, "name": None},
        {**right, "auth": {**right["auth"], "specName": "Other"}},
        {**right, "connectionSpec": {"id": "nope", "version": "1.0"}},
        [right],
    ]


def use(w: World) -> Kept:
    """Everything that takes a secret, rightly and wrongly, and everything that shows what was made of it."""
    kept = Kept(w.client)
    made = kept.send("POST", f"{BASE}/connections", json=connection_body(sessionToken=SESSION))
    path = f"{BASE}/connections/{made['id']}"
    for body in wrong_bodies():
        kept.send("POST", f"{BASE}/connections", json=body)
    kept.send("POST", f"{BASE}/connections", content=f'{{"secretKey":"{SECOND}"'.encode())
    for value in (SECOND, {"secretKey": SECOND}, MASK):
        etag = kept.send("GET", path)["items"][0]["etag"]
        patch = [{"op": "replace", "path": "/auth/params/secretKey", "value": value}]
        kept.send("PATCH", path, json=patch, headers={"if-match": etag})
        kept.send("PATCH", path, json=patch, headers={"if-match": '"old"'})
    etag = kept.send("GET", path)["items"][0]["etag"]
    for wrong in (
        [{"op": "test", "path": "/auth/params/secretKey", "value": SECOND}],
        [{"op": "nope", "path": "/a", "value": SECOND}],
        {"a": SECOND},
    ):
        kept.send("PATCH", path, json=wrong, headers={"if-match": etag})
    for each in ("", "/search"):
        kept.send("POST" if each else "GET", f"{BASE}/connections{each}", **({"json": {"limit": 9}} if each else {}))
    kept.send("GET", f"{path}/test")
    kept.send("GET", f"{BASE}/flows")
    secret = w.first.client.secret.reveal()
    for wrong_form in (form("nobody", secret), form(w.first.client.id, secret + " "), form(secret, secret)):
        kept.send("POST", TOKEN, data={**wrong_form})
    kept.send("POST", "/headrace/users", json={"name": "u", "roles": ["none"], "password": PASSWORD})
    # What shows a secret once, on purpose, is not kept.
    w.client.post("/headrace/users", {"name": "u", "roles": [], "password": PASSWORD})
    kept.send("POST", "/headrace/sealing")
    for each in ("clients", "users", "roles", "audit?limit=1000", "audit?limit=1000&organisation=true"):
        kept.send("GET", f"/headrace/{each}")
    kept.send("DELETE", path)
    kept.send("GET", "/headrace/audit?limit=1000")
    return kept


def test_no_secret_is_answered_stored_or_logged(
    store: Store, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Raw, in base64, for URLs, in hexadecimal and hashed: neither in answers, nor in the database, nor logged."""
    caplog.set_level(logging.DEBUG)
    w = world(store)
    kept = use(w)
    token = w.client.headers["authorization"].removeprefix("Bearer ")
    secrets = [
        SECRET, SECOND, SESSION, PASSWORD, token, w.first.client.secret.reveal(), w.first.user.secret.reveal(),
        w.spare.secret.reveal(), w.user.secret.reveal(),
    ]  # fmt: skip
    content = decoded(b"\n".join(kept.seen))
    assert MASK.encode() in content
    assert holds(content, secrets) == []
    captured = capsys.readouterr()
    assert holds(decoded((captured.out + captured.err + caplog.text).encode()), secrets) == []
    if isinstance(store, TablesStore):
        content = decoded(database(store))
        assert w.made.flow.encode() in content
        assert holds(content, secrets) == []


def test_the_search_finds_what_is_planted() -> None:
    """In each form, and within base64 at any place, even of base64."""
    w = world()
    kept = Kept(w.client)
    body = {**connection_body(), "description": f"my key is {SECRET}"}
    made = kept.send("POST", f"{BASE}/connections", json=body)
    kept.send("GET", f"{BASE}/connections/{made['id']}")
    assert holds(decoded(b"\n".join(kept.seen)), [SECRET])
    for each in forms(SECRET):
        assert holds(decoded(b"before " + each + b" after"), [SECRET]) != []
        for before in (b"", b"a", b"ab", b"abc"):
            once = base64.b64encode(before + each + b" after")
            assert holds(decoded(once), [SECRET]) != []
            assert holds(decoded(base64.b64encode(b"x" + once)), [SECRET]) != []


@pytest.mark.postgres
def test_the_search_finds_what_is_planted_in_the_database(store: Store) -> None:
    """So it does look into it."""
    w = world(store)
    w.client.post(f"{BASE}/connections", {**connection_body(), "description": f"my key is {SECRET}"})
    if isinstance(store, TablesStore):
        assert holds(decoded(database(store)), [SECRET])
