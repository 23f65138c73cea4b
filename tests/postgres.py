"""A PostgreSQL server of the tests' own: on a free port of 127.0.0.1, in a folder that goes with it.

Debian's package puts the programs into /usr/lib/postgresql; ``make postgres`` installs it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.servers import end_with_parent, free_port

START_S = 60.0


def programs() -> Path:
    """The folder of initdb and postgres, of the newest version that is installed."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    found = versions[-1] if versions else shutil.which("initdb")
    if found is None:
        pytest.fail("PostgreSQL's server is missing: run `make postgres`, or install the package postgresql")
    return Path(found).resolve().parent


def _account() -> dict[str, object]:
    """Options of a child process: as somebody else when we are root, which the server refuses to be."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam("nobody")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The URL of a running server's database ``postgres``; the server and its folder are gone afterwards."""
    binaries, account = programs(), _account()
    # Not pytest's folder: it is closed to the account that the server runs as.
    folder = Path(tempfile.mkdtemp(prefix="headrace-postgres-"))
    try:
        data, password_file, password = folder / "data", folder / "password", secrets.token_hex(16)
        password_file.write_text(password)
        if account:
            for path in (folder, password_file):
                os.chown(path, account["user"], account["group"])  # type: ignore[arg-type]
        made = subprocess.run(
            [binaries / "initdb", "--pgdata", data, "--username", "headrace", "--pwfile", password_file,
             "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"],
            capture_output=True, text=True, timeout=START_S, cwd=folder, check=False, **account,  # type: ignore[call-overload]
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        port = free_port()
        with (folder / "log").open("wb") as log:
            running = subprocess.Popen(
                [binaries / "postgres", "-D", data, "-p", str(port), "-k", folder, "-c", "listen_addresses=127.0.0.1",
                 "-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=60"],
                stdout=log, stderr=subprocess.STDOUT, cwd=folder, preexec_fn=end_with_parent, **account,  # type: ignore[call-overload]
            )  # fmt: skip
        try:
            url = f"postgresql://headrace:{password}@127.0.0.1:{port}/postgres"
            _wait(url, running, folder / "log")
            yield url
        finally:
            running.send_signal(signal.SIGINT)  # stops at once, open connections or not
            running.wait(timeout=START_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(url: str, running: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while True:
        assert running.poll() is None, log.read_text(errors="replace")
        try:
            psycopg.connect(url, connect_timeout=5).close()
        except psycopg.OperationalError:
            assert time.monotonic() < until, log.read_text(errors="replace")
            time.sleep(0.05)
        else:
            return


def new_database(url: str, name: str, *, like: str = "template1") -> str:
    """The URL of a new database of the server, a copy of another one that nobody uses now; empty by default."""
    with psycopg.connect(url, autocommit=True) as connection:
        # A worker that takes tests of another file in between sets a module's fixtures up anew.
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{like}"'.encode())
    return url.removesuffix("/postgres") + f"/{name}"
