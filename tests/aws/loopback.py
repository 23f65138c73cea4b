"""A small HTTP server on this machine, in a thread, that plays a metadata or token service; it keeps what it got."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qsl

import msgspec


class Asked(NamedTuple):
    """A request as received; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """The body of a form."""
        return dict(parse_qsl(self.body.decode()))


class Loopback(NamedTuple):
    """A running server."""

    url: str
    asked: list[Asked]


@contextmanager
def loopback(reply: Callable[[Asked], bytes | int | tuple[int, bytes]]) -> Iterator[Loopback]:
    """Serve until the block ends: what *reply* returns with status 200, or a status alone, or both."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            asked.append(Asked(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            said = reply(asked[-1])
            status, content = (
                said if isinstance(said, tuple) else (said, b"") if isinstance(said, int) else (200, said)
            )
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = answer  # noqa: N815 - names are http.server's

        def log_message(self, *_: object) -> None:
            """Nothing is said of a request."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Loopback(f"http://127.0.0.1:{server.server_address[1]}", asked)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def expiry(minutes: float) -> str:
    """A time from now, as the services write it."""
    return (datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


def metadata(asked: Asked, number: int, minutes: float) -> bytes | int:
    """The instance metadata service, version 2, and the container's: keys KEY<number> for so many minutes."""
    keys = {
        "Code": "Success",
        "AccessKeyId": f"KEY{number}",
        "SecretAccessKey": f"the-secret-{number}",
        "Token": f"the-token-{number}",
        "Expiration": expiry(minutes),
    }
    if asked.method == "PUT":
        return b"session"
    if asked.path == "/container":
        return msgspec.json.encode(keys) if asked.headers.get("authorization") == "container-token" else 401
    if asked.headers.get("x-aws-ec2-metadata-token") != "session":
        return 401
    if asked.path.endswith("/security-credentials/"):
        return b"the-role"
    return msgspec.json.encode(keys) if asked.path.endswith("/the-role") else 404


def sts(asked: Asked, minutes: float = 60) -> bytes:
    """The Security Token Service: keys that say whose role they are of, and who asked."""
    form = asked.form
    credential = asked.headers.get("authorization", "")
    by = credential.partition("Credential=")[2].partition("/")[0] or "nobody"
    role = form["RoleArn"].rpartition("/")[2]
    return f"""<{form["Action"]}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{form["Action"]}Result>
<Credentials><AccessKeyId>{role}-by-{by}</AccessKeyId><SecretAccessKey>the-secret</SecretAccessKey>
<SessionToken>the-token</SessionToken><Expiration>{expiry(minutes)}</Expiration></Credentials>
<AssumedRoleUser><AssumedRoleId>A:b</AssumedRoleId><Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn></AssumedRoleUser>
</{form["Action"]}Result></{form["Action"]}Response>""".encode()
