"""``python -m tests.e2e.killed SEAM ARMED NOTE run …``: the command, which kills itself at one seam of the road.

It runs as ever until the file ARMED exists; from then on the first pass of SEAM writes the seam's name and whether
this process holds the lock of the database to NOTE, and ends with SIGKILL: nothing is flushed, nothing is closed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from headrace.cli import main as cli
from headrace.destinations.dispatch import Pending
from headrace.destinations.kinesis.writer import KinesisWriter
from headrace.runtimes.embedded import rounds
from headrace.runtimes.embedded.flow import RunningFlow
from headrace.runtimes.embedded.outbox import Outbox
from headrace.runtimes.embedded.rounds import Rounds
from headrace.runtimes.embedded.settling import Settling
from headrace.state.rocksdb import RocksState


def holds_lock(pid: int, lock: Path) -> bool:
    """Whether a process holds the lock file, as the kernel says."""
    try:
        inode = lock.stat().st_ino
    except FileNotFoundError:
        return False
    locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return any(int(row[4]) == pid and row[5].endswith(f":{inode}") for row in locks if row[1] != "->")


class Seam:
    """Where to die, once armed."""

    def __init__(self, name: str, armed: Path, note: Path) -> None:
        self.name, self._armed, self._note = name, armed, note
        self._lock = Path(os.environ["HEADRACE_DATA_DIR"]) / "db" / "LOCK"

    def here(self) -> None:
        """Die, if armed."""
        if self._armed.exists():
            held = "locked" if holds_lock(os.getpid(), self._lock) else "not locked"
            self._note.write_text(f"{self.name} {held}")
            os.kill(os.getpid(), signal.SIGKILL)


def commit_before_send(seam: Seam) -> None:
    """After commit and sync, before anything of the batch is handed to the dispatcher."""
    original = Outbox.committed

    def committed(self: Outbox, staged: Any, durable: int) -> None:
        seam.here()
        original(self, staged, durable)

    Outbox.committed = committed  # type: ignore[method-assign]


def before_sync(seam: Seam) -> None:
    """After commit, before its sync, in the thread of the sync."""
    original = RocksState.sync

    def sync(self: RocksState) -> None:
        seam.here()
        original(self)

    RocksState.sync = sync  # type: ignore[method-assign]


def send_before_settle(seam: Seam) -> None:
    """After the destination acknowledged records, before the dispatcher knows."""
    original = KinesisWriter.write

    async def write(self: KinesisWriter, records: Any) -> Any:
        outcomes = await original(self, records)
        if any(outcome.verdict == 0 for outcome in outcomes):
            seam.here()
        return outcomes

    KinesisWriter.write = write  # type: ignore[method-assign]


def settle_before_store(seam: Seam) -> None:
    """After records were settled in memory and the next of their lanes let go, before that is stored."""
    original = Settling.settled

    def settled(self: Settling, flow: RunningFlow, done: Sequence[Pending]) -> None:
        original(self, flow, done)
        seam.here()

    Settling.settled = settled  # type: ignore[method-assign]


def merge(seam: Seam, *, after: bool) -> None:
    """Before or after the commit of a batch that joins profiles."""
    original, held = Rounds._stage_inputs, [False]

    def stage_inputs(self: Rounds, *rest: Any) -> Any:
        joined = self._counts.totals.joined
        staged = original(self, *rest)
        held[0] |= self._counts.totals.joined > joined
        return staged

    Rounds._stage_inputs = stage_inputs  # type: ignore[method-assign, assignment]
    _at_commit(seam, held, after=after)


def store(seam: Seam, *, after: bool) -> None:
    """Before or after the commit of a batch that holds settlements."""
    original, held = vars(rounds)["store_settled"], [False]

    def store_settled(*rest: Any) -> None:
        original(*rest)
        held[0] = True

    vars(rounds)["store_settled"] = store_settled
    _at_commit(seam, held, after=after)


def _at_commit(seam: Seam, held: list[bool], *, after: bool) -> None:
    original = RocksState.commit

    def commit(self: RocksState, batch: Any) -> None:
        now, held[0] = held[0], False
        if now and not after:
            seam.here()
        original(self, batch)
        if now and after:
            seam.here()

    RocksState.commit = commit  # type: ignore[method-assign]


SEAMS: Final[dict[str, Callable[[Seam], None]]] = {
    "after commit before send": commit_before_send,
    "after commit before sync": before_sync,
    "after send before settlement": send_before_settle,
    "after settlement before it is stored": settle_before_store,
    "before the commit of a merge": partial(merge, after=False),
    "after the commit of a merge": partial(merge, after=True),
    "before the commit of settlements": partial(store, after=False),
    "after the commit of settlements": partial(store, after=True),
}


if __name__ == "__main__":
    name, armed, note, *arguments = sys.argv[1:]
    SEAMS[name](Seam(name, Path(armed), Path(note)))
    sys.argv = ["headrace", *arguments]
    cli.main()
