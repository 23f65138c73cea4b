"""The command as a real process: run to its end, or in the background until it is stopped by its pid.

Whatever is run here is looked through for a traceback, for the planted secret, and for what only a terminal takes.
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
from typing import Any, Final, NamedTuple

import msgspec

from tests.e2e.updates import SECRET

HEADRACE: Final = str(Path(sys.executable).with_name("headrace"))
BOUND_S: Final = 100.0
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
    *arguments: str | Path, data: Path, stdin: bytes = b"", env: Mapping[str, str] | None = None
) -> Said:  # fmt: skip
    """Run a command to its end."""
    done = subprocess.run(
        [HEADRACE, *map(str, arguments)],
        env=environment(data, env), input=stdin, capture_output=True, timeout=BOUND_S, check=False,
    )  # fmt: skip
    return _judged(Said(done.returncode, done.stdout.decode(), done.stderr.decode()))


class Running:
    """A command in the background.

    Attributes:
        pid: Its process id.
        stdin: Its standard input, when it is a pipe.
    """

    def __init__(self, child: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self._child, self._out, self._err = child, out, err
        self.pid = child.pid
        self.stdin = child.stdin

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
        self._child.wait(BOUND_S)
        return _judged(Said(self._child.returncode, self._out.read_text(), self._err.read_text()))

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds, as long as the command runs."""
        end = time.monotonic() + BOUND_S
        while not holds():
            assert self._child.poll() is None, f"it ended with {self._child.returncode}: {self.said()}"
            assert time.monotonic() < end, f"in vain: {self.said()}"
            time.sleep(0.01)


@contextmanager
def background(
    *arguments: str | Path, data: Path, stdin: int = subprocess.DEVNULL, env: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Run a command until the block ends; then it is killed if it still runs."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        with out.open("wb") as to_out, err.open("wb") as to_err:
            child = subprocess.Popen(
                [HEADRACE, *map(str, arguments)],
                env=environment(data, env),
                stdin=stdin,
                stdout=to_out,
                stderr=to_err,
            )
        try:
            yield Running(child, out, err)
        finally:
            child.kill()
            child.wait()
            if child.stdin is not None:
                child.stdin.close()
