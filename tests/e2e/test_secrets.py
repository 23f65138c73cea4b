"""A secret that was given to the API is found nowhere afterwards: database, files, logs, answers, export."""

from __future__ import annotations

import base64
import hashlib
import sqlite3
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.testing import Child
from tests.cli.commands import headrace
from tests.e2e.server import FLOWS, PLANTED, Server, Tutorial, connection_body, member, serving, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def forms(secret: str) -> dict[str, bytes]:
    """A secret as it is, and in the forms in which it could leave."""
    raw = secret.encode()
    # Within a longer text the first and last characters of base64 depend on their neighbours: the middle is sought.
    shifted = {
        f"base64 shifted by {shift}": base64.b64encode(b"x" * shift + raw)[4:-4].strip(b"=") for shift in (1, 2)
    }
    return {
        "raw": raw,
        "base64": base64.b64encode(raw)[:-4],
        "url-safe base64": base64.urlsafe_b64encode(raw)[:-4],
        "url-encoded": urllib.parse.quote(secret, safe="").encode(),
        "hexadecimal": raw.hex().encode(),
        "reversed": raw[::-1],
        **{name: hashlib.new(name, raw).hexdigest().encode() for name in ("md5", "sha1", "sha256", "sha512")},
        **shifted,
    }


def found(secret: str, where: dict[str, bytes]) -> list[str]:
    """Places and forms in which a secret is found."""
    return [
        f"{name}: {form}"
        for name, content in where.items()
        for form, text in forms(secret).items()
        if text in content
    ]


def everything(server: Server, tutorial: Tutorial) -> dict[str, bytes]:
    """All that is written down or can be read, by name."""
    places = dict(_files(server.data))
    places |= {f"table {name}": content for name, content in _tables(server.data)}
    places["logs"] = server.running.said().encode()
    places["output"] = server.running.shown().encode()
    for path in (
        "connections", f"connections/{tutorial.connection}", f"connections/{tutorial.connection}/test",
        "sourceConnections", "targetConnections", "flows", f"flows/{tutorial.flow}", "runs", "connectionSpecs",
    ):  # fmt: skip
        places[path] = server.call("GET", f"{FLOWS}/{path}").content
    places["audit"] = server.call("GET", "/headrace/audit?limit=1000&organisation=true").content
    places["openapi"] = server.call("GET", "/openapi.json").content
    places["metrics"] = server.health("/metrics").content + server.health("/readyz").content
    for command in (("export",), ("status", "--json"), ("clients", "list"), ("users", "list", "--json")):
        places[" ".join(command)] = headrace(*command, data=server.data).out.encode()
    return places


def _files(data: Path) -> Iterator[tuple[str, bytes]]:
    for each in data.rglob("*"):
        if each.is_file():
            yield str(each.relative_to(data)), each.read_bytes()


def _tables(data: Path) -> Iterator[tuple[str, bytes]]:
    connection = sqlite3.connect(f"file:{data}/control.db?mode=ro", uri=True)
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        rows = connection.execute(f'SELECT * FROM "{name}"').fetchall()
        yield name, repr(rows).encode()
    connection.close()


def wrong_calls(server: Server, tutorial: Tutorial) -> dict[str, bytes]:
    """Answers to calls with a secret at a place where it is wrong."""
    path = f"{FLOWS}/connections"
    bad_region = connection_body("http://127.0.0.1:1", region="nowhere")
    bad_host = connection_body("http://10.0.0.1/")
    extra = connection_body("http://127.0.0.1:1", unknownParameter=1)
    etag = server.made("GET", f"{path}/{tutorial.connection}")["items"][0]["etag"]
    value = {"secretKey": PLANTED}
    return {
        "bad region": server.call("POST", path, bad_region).content,
        "bad host": server.call("POST", path, bad_host).content,
        "unknown parameter": server.call("POST", path, extra).content,
        "missing parameters": server.call(
            "PATCH", f"{path}/{tutorial.connection}", [{"op": "replace", "path": "/auth/params", "value": value}],
            If_Match=etag,
        ).content,
        "bad path": server.call(
            "PATCH", f"{path}/{tutorial.connection}", [{"op": "replace", "path": "/auth/no/x", "value": PLANTED}],
            If_Match=etag,
        ).content,
        "bad etag": server.call(
            "PATCH", f"{path}/{tutorial.connection}", [{"op": "replace", "path": "/auth/params", "value": value}],
            If_Match='"x"',
        ).content,
    }  # fmt: skip


def test_the_secret_is_nowhere(tmp_path: Path) -> None:
    """After making, editing, using, testing and refusing connections; and what is planted in the open is found."""
    with Child(streams={"one": 1}) as kinesis, serving(tmp_path / "data") as server:
        tutorial = Tutorial(server, kinesis.url, "one")
        tutorial.map()
        until(lambda: tutorial.flow in server.flows(), server.running.said)
        server.post(member(1))
        until(lambda: "headrace_flow_delivered_total" in server.health("/metrics").text)
        refused = wrong_calls(server, tutorial)
        assert all(refused.values())
        places = everything(server, tutorial) | refused
        assert found(PLANTED, places) == []
        assert found(server.keys.client_secret, {k: v for k, v in places.items() if k != "output"}) == []
        assert found(server.keys.password, {k: v for k, v in places.items() if k != "output"}) == []
        # The same search finds what is in the open: the search can fail.
        server.patch(
            f"{FLOWS}/targetConnections/{tutorial.target}",
            {"op": "add", "path": "/description", "value": f"note {base64.b64encode(PLANTED.encode()).decode()}"},
        )
        server.patch(tutorial.path, {"op": "add", "path": "/description", "value": PLANTED})
        again = found(PLANTED, everything(server, tutorial))
        for place in ("table records: raw", "table audit: raw", "flows: raw", "audit: raw", "export: base64"):
            assert place in again, again
