"""A run that is killed again and again: each life is one process, watched by what the stream receives."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Final, NamedTuple

import msgspec

from headrace.testing import Written
from tests.cli import warm
from tests.e2e.killed import holds_lock

OUTSIDE: Final = "from outside"
ROOT: Final = Path(__file__).parents[2]
BOUND_S: Final = 120.0
_EXPORT_ID: Final = re.compile(rb'"exportId":"([^"]+)"')


class Death(NamedTuple):
    """How one life ended.

    Attributes:
        place: Seam, or from outside.
        new: Messages that the stream received for the first time in this life, when it was seen to have ended.
        again: Messages that it received again in this life.
        locked: The process held the lock of the database when it was killed.
        seconds: How long it lived.
    """

    place: str
    new: int
    again: int
    locked: bool
    seconds: float


class Stream:
    """The recording, read while it grows: what came for the first time, and what came again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._decode = msgspec.msgpack.Decoder(Written).decode
        self.ids: set[bytes] = set()
        self.again = 0

    def read(self) -> int:
        """Messages so far, each counted once."""
        if not self._path.exists():
            return 0
        with self._path.open("rb") as file:
            file.seek(self._at)
            grown = file.read()
        place = 0
        while place + 4 <= len(grown):
            end = place + 4 + int.from_bytes(grown[place : place + 4])
            if end > len(grown):
                break
            written = self._decode(grown[place + 4 : end])
            found = _EXPORT_ID.search(written.data)
            assert found, written
            self.again += found[1] in self.ids
            self.ids.add(found[1])
            place = end
        self._at += place
        return len(self.ids)


class Lives:
    """Starts the command in one folder, kills it, and starts it again.

    Args:
        folder: Holds configuration (``config.json``), input (``input.jsonl``) and the data folder (``data``).
        stream: What the destination received.
        source: What is read, instead of the file.
        environment: More of it.
    """

    def __init__(self, folder: Path, stream: Stream, source: str = "", **environment: str) -> None:
        self._folder, self._stream = folder, stream
        self._environment = {
            **os.environ, "HEADRACE_DATA_DIR": str(folder / "data"), "COLUMNS": "160", **environment,
        }  # fmt: skip
        self._arguments = [
            "run", "--config", str(folder / "config.json"), "--input", source or str(folder / "input.jsonl"),
        ]  # fmt: skip
        self.deaths: list[Death] = []
        self.cpu_s = 0.0
        """What the processes that have ended took, killed ones too."""
        self.follow = False
        """Lives that are killed wait for more at the end of what they read."""
        self.meanwhile: Callable[[int], None] = lambda received: None
        """Called again and again while a life goes on, with the messages received so far."""

    def kill(self, place: str, new: int) -> Death:
        """Start a process, and let it die at *place* once the stream has received *new* messages it never saw."""
        armed, note = self._folder / "armed", self._folder / "note"
        armed.unlink(missing_ok=True)
        note.unlink(missing_ok=True)
        arguments = [*self._arguments, *(["--follow"] if self.follow else [])]
        module = ""
        if place != OUTSIDE:
            module, arguments = "tests.e2e.killed", [place, str(armed), str(note), *arguments]
        begun = time.monotonic()
        with (self._folder / "words").open("wb") as words:
            child = self._begin(arguments, words, words, module)
        try:
            self._until(child, begun, lambda: self._locked_by(child))
            # What the life before had under way has come by now, or counts as new.
            before, again = self._stream.read(), self._stream.again
            locked = self._await(child, before + new, begun, armed if place != OUTSIDE else None)
        finally:
            child.kill()
            child.wait()
            self.cpu_s += child.cpu_s
        if place != OUTSIDE:
            assert note.exists(), f"ended before {place}: {(self._folder / 'words').read_text()}"
            locked = note.read_text() == f"{place} locked"
        assert child.returncode == -signal.SIGKILL, (child.returncode, (self._folder / "words").read_text())
        death = Death(
            place, self._stream.read() - before, self._stream.again - again, locked, time.monotonic() - begun
        )
        self.deaths.append(death)
        return death

    def _await(self, child: warm.Command, most: int, begun: float, armed: Path | None) -> bool:
        """Until it is time: then arm the seam and wait for the end, or say whether the process holds the lock."""

        def reached() -> bool:
            received = self._stream.read()
            self.meanwhile(received)
            return received >= most

        self._until(child, begun, reached)
        if armed is not None:
            armed.touch()
            child.wait(BOUND_S)
            return False
        locked = self._locked_by(child)
        os.kill(child.pid, signal.SIGKILL)
        return locked

    def _until(self, child: warm.Command, begun: float, holds: Callable[[], bool]) -> None:
        """Until something holds, as long as the process runs."""
        while not holds():
            assert child.poll() is None, (child.returncode, (self._folder / "words").read_text())
            assert time.monotonic() - begun < BOUND_S, "nothing new was delivered"
            time.sleep(0.002)

    def _locked_by(self, child: warm.Command) -> bool:
        return holds_lock(child.pid, self._folder / "data" / "db" / "LOCK")

    def finish(self, bound_s: float = BOUND_S) -> subprocess.CompletedProcess[str]:
        """Start it once more and let it end by itself."""
        return self.ask(*self._arguments, bound_s=bound_s)

    def finish_for_good(self) -> None:
        """Let it end by itself, and once more: nothing is left to be read or sent, and the journal folds to it."""
        self.follow = False
        final = self.finish()
        assert final.returncode == 0, final.stdout + final.stderr
        received = self._stream.read()
        again = self.finish()
        assert again.returncode == 0, again.stderr
        assert self._stream.read() == received, "a finished run read or sent something again"
        assert self.ask("journal", "replay").returncode == 0

    def ask(self, *arguments: str, bound_s: float = BOUND_S) -> subprocess.CompletedProcess[str]:
        """Another command about the same data folder, to its end."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = self._begin(arguments, out, err)
            try:
                code = child.wait(bound_s)
            finally:
                child.kill()
                child.wait()
                self.cpu_s += child.cpu_s
            said = []
            for words in (out, err):
                words.seek(0)
                said.append(words.read().decode())
        return subprocess.CompletedProcess(arguments, code, *said)

    def _begin(
        self, arguments: Sequence[str], out: IO[bytes], err: IO[bytes], module: str = ""
    ) -> warm.Command:  # fmt: skip
        with open(os.devnull, "rb") as nothing:
            return warm.begin(
                *arguments, environment=self._environment, stdin=nothing, stdout=out, stderr=err, folder=ROOT,
                module=module,
            )  # fmt: skip
