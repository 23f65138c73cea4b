"""The command, begun from a process that has imported it already.

What a short command takes is a second or more of imports, and tests run hundreds. Each call is a process all the
same, with arguments, environment, folder, standard streams and an exit code of its own; it is forked instead of
started. ``python -m tests.cli.warm HANDLE`` is the process it is forked from: a process of pytest has one from its
first call on, and it ends when the other end of its socket does, however that happens. Between it and each command
stands a keeper, the command's parent, which tells how the command ended. With the server all of them end.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from tests.servers import end_with_parent

ROOT: Final = Path(__file__).parents[2]
HEADRACE: Final = str(Path(sys.executable).with_name("headrace"))
AT_IMPORT: Final = ("COLUMNS", "LINES", "TERM", "NO_COLOR", "FORCE_COLOR", "TZ", "PYTHON")
"""How variables begin that are read while modules are imported: with others than the server's a call begins cold."""
_SERVER: Final = {"COLUMNS": "160"}
_MOST_BYTES: Final = 1 << 17
_START_BOUND_S: Final = 60.0


class _Call(msgspec.Struct, frozen=True):
    """What to run.

    Attributes:
        module: Run as ``python -m`` would; the command itself when empty.
        arguments: Of the command.
        folder: The working directory.
        environment: All of it.
    """

    module: str
    arguments: list[str]
    folder: str
    environment: dict[str, str]


class Command:
    """A command that was begun warm, in the terms of ``subprocess.Popen``.

    Attributes:
        pid: Its process id.
        returncode: How it ended, once that was seen; negative for the signal that ended it.
        cpu_s: Processor time that it took, known then too.
    """

    def __init__(self, answers: socket.socket) -> None:
        self._answers = answers
        self.returncode: int | None = None
        self.cpu_s = 0.0
        answers.settimeout(_START_BOUND_S)
        said = answers.recv(8)
        assert said, "the process that commands are forked from has ended"
        self.pid = int.from_bytes(said)
        # Its keeper does not look for its end before this is acknowledged: the handle is of no later process.
        self._process = os.pidfd_open(self.pid)
        answers.send(b"+")

    def poll(self) -> int | None:
        """How it ended, or None while it runs."""
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: It runs on.
        """
        ended = self._look(timeout)
        if ended is None:
            raise subprocess.TimeoutExpired(HEADRACE, timeout or 0.0)
        return ended

    def kill(self) -> None:
        """End it, if it runs."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, signal.SIGKILL)

    def _look(self, timeout_s: float | None) -> int | None:
        if self.returncode is None and select.select([self._answers], [], [], timeout_s)[0]:
            self.returncode, self.cpu_s = msgspec.json.decode(self._answers.recv(_MOST_BYTES), type=tuple[int, float])
            self._answers.close()
            os.close(self._process)
        return self.returncode


def begin(
    *arguments: str, environment: Mapping[str, str], stdin: IO[bytes] | int, stdout: IO[bytes], stderr: IO[bytes],
    folder: Path | None = None, module: str = "",
) -> Command:  # fmt: skip
    """Begin a command; the streams are the caller's to close.

    Args:
        *arguments: Of the command.
        environment: All of its environment.
        stdin: Its standard input.
        stdout: Its standard output.
        stderr: Its standard error.
        folder: Where it works; where this process does by default.
        module: Run this one instead, as ``python -m`` would.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    call = _Call(module, list(arguments), str(folder or Path.cwd()), dict(environment))
    streams = [each if isinstance(each, int) else each.fileno() for each in (stdin, stdout, stderr)]
    with theirs:
        socket.send_fds(_server(), [msgspec.json.encode(call)], [theirs.fileno(), *streams])
    return Command(ours)


def possible(environment: Mapping[str, str]) -> bool:
    """Whether nothing in an environment is read while modules are imported and differs from what it was then."""
    there = {**os.environ, **_SERVER}
    return not any(
        name.startswith(AT_IMPORT) and there.get(name) != environment.get(name) for name in there.keys() | environment
    )


@functools.cache
def _server() -> socket.socket:
    """The socket of this process's server, which is begun by the first call."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.warm", str(theirs.fileno())],
            cwd=ROOT, pass_fds=[theirs.fileno()], env={**os.environ, **_SERVER}, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def end() -> None:
        ours.close()
        server.wait()

    atexit.register(end)
    return ours


def _import_all() -> None:
    """Everything of ours that can be imported, and what it needs."""
    package = importlib.import_module("headrace")
    for module in pkgutil.walk_packages(package.__path__, "headrace."):
        if "__main__" not in module.name and ".migrations" not in module.name:
            importlib.import_module(module.name)
    assert len(os.listdir("/proc/self/task")) == 1, "a module began a thread, which a fork would lose"
    gc.collect()
    gc.freeze()


def _serve(control: socket.socket) -> _Call | None:
    """Fork a command for each call. Returns None at the end, and in each command's process what that is to run."""
    while True:
        text, handles, _, _ = socket.recv_fds(control, _MOST_BYTES, 4)
        if not text:
            return None
        if os.fork() == 0:
            control.close()
            end_with_parent()
            return _keep(msgspec.json.decode(text, type=_Call), *handles)
        for handle in handles:
            os.close(handle)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _keep(call: _Call, answers: int, *streams: int) -> _Call:
    """Fork the command and tell how it ended. Returns in the command's process alone."""
    if (pid := os.fork()) == 0:
        os.close(answers)
        end_with_parent()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        return call
    for stream in streams:
        os.close(stream)
    try:
        with socket.socket(fileno=answers) as told:
            told.send(pid.to_bytes(8))
            told.recv(1)
            _, status, used = os.wait4(pid, 0)
            told.send(msgspec.json.encode((os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime)))
    finally:
        os._exit(0)


def _run(call: _Call) -> Any:
    """Be the command."""
    os.chdir(call.folder)
    os.environ.clear()
    os.environ.update(call.environment)
    sys.modules["__main__"] = types.ModuleType("__main__")  # by which a command line's help names the program
    if call.module:
        sys.argv = [call.module, *call.arguments]
        sys.path.insert(0, call.folder)
        return runpy.run_module(call.module, run_name="__main__", alter_sys=True)
    sys.argv = [HEADRACE, *call.arguments]
    return importlib.import_module("headrace.cli.main").main()


def main(arguments: Sequence[str]) -> None:
    """Import everything, and fork commands until the socket's other end is closed."""
    _import_all()
    call = _serve(socket.socket(fileno=int(arguments[0])))
    if call is not None:
        sys.exit(_run(call))


if __name__ == "__main__":
    main(sys.argv[1:])
