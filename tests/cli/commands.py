"""The command as a process: run to its end, or in the background until it is stopped by its pid.

Most are begun warm (tests/cli/warm.py), which spares each the time of its imports. Whatever is run here is looked
through for a traceback, for the planted secret, and for what only a terminal takes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import msgspec

from tests.cli import warm
from tests.e2e.updates import SECRET

HEADRACE: Final = warm.HEADRACE
BOUND_S: Final = 100.0
_PIPE_BYTES: Final = 1 << 16
"""What a pipe takes before anybody reads."""
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class Said(NamedTuple):
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return msgspec.json.decode(self.out)


def environment(data: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment with a data folder, and without a terminal's width or settings of the machine."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("HEADRACE_")}
    return {**kept, "HEADRACE_DATA_DIR": str(data), "HEADRACE_API_PORT": "0", "COLUMNS": "160", **(extra or {})}


def _judged(said: Said) -> Said:
    words = said.out + said.err
    assert "Traceback" not in words, words
    assert SECRET not in words, "the secret appears"
    assert not _CONTROL.search(words), f"what only a terminal takes: {words!r}"
    return said


def headrace(
    *arguments: str | Path, data: Path, stdin: bytes = b"", env: Mapping[str, str] | None = None, cold: bool = False
) -> Said:  # fmt: skip
    """Run a command to its end; *cold* begins it as a shell does."""
    assert len(stdin) <= _PIPE_BYTES
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with _pipe(stdin) as given:
            child = _begun(arguments, environment(data, env), given, out, err, cold=cold)
        try:
            child.wait(BOUND_S)
        finally:
            child.kill()
            child.wait()
        assert child.returncode is not None
        said = []
        for words in (out, err):
            words.seek(0)
            said.append(words.read().decode())
    return _judged(Said(child.returncode, *said))


@contextmanager
def _pipe(text: bytes) -> Iterator[int]:
    """The end of a pipe from which a text can be read."""
    reading, writing = os.pipe()
    try:
        try:
            os.write(writing, text)
        finally:
            os.close(writing)
        yield reading
    finally:
        os.close(reading)


def _begun(
    arguments: tuple[str | Path, ...], settings: dict[str, str], stdin: int | IO[bytes], out: IO[bytes],
    err: IO[bytes], *, cold: bool = False, module: str = "",
) -> subprocess.Popen[bytes] | warm.Command:  # fmt: skip
    """A command that has begun."""
    if cold or not warm.possible(settings):
        command = [sys.executable, "-m", module] if module else [HEADRACE]
        return subprocess.Popen([*command, *map(str, arguments)], env=settings, stdin=stdin, stdout=out, stderr=err)
    words = map(str, arguments)
    return warm.begin(*words, environment=settings, stdin=stdin, stdout=out, stderr=err, module=module)


class Running:
    """A command in the background.

    Attributes:
        pid: Its process id.
        stdin: Its standard input, when that was asked for.
    """

    def __init__(
        self, child: subprocess.Popen[bytes] | warm.Command, out: Path, err: Path, stdin: IO[bytes] | None
    ) -> None:
        self._child, self._out, self._err = child, out, err
        self.pid = child.pid
        self.stdin = stdin

    def said(self) -> str:
        """Standard error so far."""
        return self._err.read_text()

    def shown(self) -> str:
        """Standard output so far."""
        return self._out.read_text()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def ended(self) -> Said:
        """Wait for its end."""
        return _judged(Said(self._child.wait(BOUND_S), self._out.read_text(), self._err.read_text()))

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds, as long as the command runs."""
        end = time.monotonic() + BOUND_S
        while not holds():
            assert self._child.poll() is None, f"it ended with {self._child.returncode}: {self.said()}"
            assert time.monotonic() < end, f"in vain: {self.said()}"
            time.sleep(0.01)


@contextmanager
def background(
    *arguments: str | Path, data: Path, piped: bool = False, env: Mapping[str, str] | None = None,
    cold: bool = False, module: str = "",
) -> Iterator[Running]:  # fmt: skip
    """Run a command until the block ends; then it is killed if it still runs.

    Args:
        *arguments: Of the command.
        data: Its data folder.
        piped: Its standard input is a pipe, instead of empty.
        env: More of its environment.
        cold: Begin it as a shell does.
        module: Run this one instead, as ``python -m`` would.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        reading, writing = (
            os.pipe() if piped else (os.open(os.devnull, os.O_RDONLY), os.open(os.devnull, os.O_WRONLY))
        )
        with open(writing, "wb") as stdin:
            with open(reading, "rb") as given, out.open("wb") as to_out, err.open("wb") as to_err:
                child = _begun(arguments, environment(data, env), given, to_out, to_err, cold=cold, module=module)
            try:
                yield Running(child, out, err, stdin if piped else None)
            finally:
                child.kill()
                child.wait()
