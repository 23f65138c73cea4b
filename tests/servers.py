"""Real servers that tests run against: moto's and kinesis-local, each a process of its own.

Each is started on a free port of 127.0.0.1, waited for within a bound, and ended by its own process id; when the
process that started it is killed, the kernel ends it.
"""

from __future__ import annotations

import ctypes
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_BOUND_S = 40.0
NODE_FOLDER = Path(__file__).parent / "node"
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class ServerNotStartedError(Exception):
    """A test server is missing or did not start; the text says what to do."""


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def end_with_parent() -> None:
    """Called in a child process: the kernel ends it when its parent ends, however that happens."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def moto() -> Iterator[str]:
    """Run moto's server; yields its URL, without a closing slash. See moto_server.py for what is added."""
    port = free_port()
    command = [sys.executable, str(Path(__file__).with_name("moto_server.py")), "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, port, cwd=None, env={}):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def kinesis_local() -> Iterator[str]:
    """Run kinesis-local (npm); yields the URL of its plain port, without a closing slash."""
    folder = NODE_FOLDER / "node_modules" / "kinesis-local"
    if not (folder / "main.js").is_file():
        raise ServerNotStartedError(
            "kinesis-local is not installed: run `make node-modules` (it runs `npm ci` in tests/node)"
        )
    plain, tls = free_port(), free_port()
    env = {
        "KINESIS_MOCK_PLAIN_PORT": str(plain),
        "KINESIS_MOCK_TLS_PORT": str(tls),
        "SHARD_LIMIT": "200",
        "LOG_LEVEL": "ERROR",
        # What takes half a second by default takes no time here.
        **dict.fromkeys(
            ("CREATE_STREAM_DURATION", "DELETE_STREAM_DURATION", "SPLIT_SHARD_DURATION", "MERGE_SHARDS_DURATION"),
            "5ms",
        ),
    }
    with _running(["node", "main.js"], plain, cwd=folder, env=env):
        yield f"http://127.0.0.1:{plain}"


@contextmanager
def _running(command: list[str], port: int, *, cwd: Path | None, env: dict[str, str]) -> Iterator[None]:
    """Run a server until the block ends; its words are shown when it does not come up."""
    with tempfile.TemporaryFile() as words:
        try:
            child = subprocess.Popen(
                command,
                cwd=cwd,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        except FileNotFoundError as error:
            raise ServerNotStartedError(f"{command[0]} is not installed") from error
        try:
            if not _answers(child, port):
                words.seek(0)
                raise ServerNotStartedError(
                    f"{' '.join(command)} did not answer on port {port} within {START_BOUND_S:.0f} s:\n"
                    + words.read().decode(errors="replace")[-2000:]
                )
            yield
        finally:
            _end(child)


def _answers(child: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the server answers HTTP, whatever it says."""
    end = time.monotonic() + START_BOUND_S
    while time.monotonic() < end and child.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
        else:
            return True
        finally:
            connection.close()
    return False


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the server and whatever it started; nothing of it is left when this returns."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            continue
        break
    child.wait()
