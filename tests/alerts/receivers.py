"""Those who are told, within the test: a webhook's receiver and a mail server with STARTTLS and accounts."""

from __future__ import annotations

import base64
import contextlib
import http.server
import socketserver
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import trustme


class Posted:
    """What came to the webhook: (path, headers, body); answers are given in turn, the last one repeats."""

    def __init__(self, *answers: int) -> None:
        self.posts: list[tuple[str, dict[str, str], bytes]] = []
        self.answers = list(answers) or [204]
        self.hold: threading.Event | None = None
        self.url = ""
        self.changed = threading.Condition()

    def wait(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.posts) >= count, 20), f"{len(self.posts)} posts came"


@contextlib.contextmanager
def webhook(*answers: int, ca: trustme.CA | None = None) -> Iterator[Posted]:
    """A receiver on a free port; over TLS with *ca*."""
    posted = Posted(*answers)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if posted.hold is not None:
                posted.hold.wait(20)
            with posted.changed:
                answer = posted.answers[min(len(posted.posts), len(posted.answers) - 1)]
                posted.posts.append((self.path, dict(self.headers), body))
                posted.changed.notify_all()
            self.send_response(answer)
            self.send_header("Content-Length", "0")
            if answer == 302:
                self.send_header("Location", posted.url + "/elsewhere")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if ca is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("127.0.0.1").configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    posted.url = f"{'https' if ca else 'http'}://127.0.0.1:{server.server_address[1]}"
    with _serving(server):
        yield posted


class Mailed:
    """What came to the mail server: (recipients, message), and whether each was sent over TLS by whom."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], str]] = []
        self.by: list[tuple[str, bool]] = []
        self.port = 0
        self.refused = ""


@contextlib.contextmanager
def mail_server(ca: trustme.CA, *, user: str = "", password: str = "", at_once: bool = False) -> Iterator[Mailed]:
    """A mail server on a free port that speaks STARTTLS, or TLS *at_once*; with *user*, only to who signs in."""
    mailed = Mailed()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.secure, self.who, self.to = False, "", list[str]()
            if at_once:
                self._secured()
            self._say("220 here")
            while line := self.rfile.readline().decode().strip():
                if not self._answered(line):
                    return

        def _secured(self) -> None:
            self.connection = context.wrap_socket(self.connection, server_side=True)
            self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
            self.secure = True

        def finish(self) -> None:
            super().finish()
            self.connection.close()

        def _say(self, *lines: str) -> None:
            self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())

        def _answered(self, line: str) -> bool:
            verb = line.split()[0].upper()
            if verb == "EHLO":
                self._say("250-here", *([] if self.secure else ["250-STARTTLS"]), "250 AUTH PLAIN LOGIN")
            elif verb == "STARTTLS":
                self._say("220 go")
                self._secured()
            elif verb == "AUTH":
                given = base64.b64decode(line.split()[2]).decode().split("\0")[1:]
                self.who = user if given == [user, password] else ""
                self._say("235 in" if self.who else f"535 not {line}")
            elif verb == "MAIL":
                self._say("250 ok" if self.who or not user else "530 sign in first")
            elif verb == "RCPT":
                self.to.append(line.split("<")[1].split(">")[0])
                self._say("550 no" if mailed.refused and mailed.refused in line else "250 ok")
            elif verb == "DATA":
                self._say("354 go")
                body = b""
                while not body.endswith(b"\r\n.\r\n"):
                    body += self.rfile.readline()
                mailed.mails.append((self.to, body.decode()))
                mailed.by.append((self.who, self.secure))
                self._say("250 taken")
            else:
                self._say("221 bye" if verb == "QUIT" else "250 ok")
            return verb != "QUIT"

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None: ...

    server = Server(("127.0.0.1", 0), Handler)
    mailed.port = server.server_address[1]
    with _serving(server):
        yield mailed


@contextlib.contextmanager
def _serving(server: socketserver.TCPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
