"""Renumber what a backup holds, so that what follows a restore is never taken for what was lost with the old folder.

Between a backup and its restore the lost folder went on: it made exports that consumers have seen. A folder that went
on counting where the backup stopped would use their ids and places again, for other messages. So the restored one
counts on from the time of the restore, in units that no folder outruns: its inputs get numbers, and its profiles
epochs, that are larger than any that were ever given. Exports that were pending keep what they are.

Holds always (tests/state/test_restored.py checks each by its number):
    E1  Every epoch is larger than any that the lost folder can have given, and smaller than any to come.
    E2  Profiles keep their order by epoch, so that the same one survives a merge.
    E3  Envelopes and the identity index agree; nothing else is changed.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from headrace.core.glance import with_epoch
from headrace.state import records
from headrace.state.base import State
from headrace.state.keys import FACT, IDENTITY, JOURNAL, PROFILE, Keys
from headrace.state.pages import Roll

Entry = tuple[bytes, bytes]

_PER_MS: Final = 2048
"""Numbers a millisecond: more inputs than any folder takes, and below 2^53 until the year 2109."""
_CURSOR: Final = FACT + b"cursor"


class _Epoch(msgspec.Struct, array_like=True):
    """The first fields of an ``Envelope``."""

    format: int
    profile_id: str
    epoch: int


_epoch: Final = msgspec.msgpack.Decoder(_Epoch).decode


class _Sandbox:
    """The numbers of one sandbox: what it has, and where it goes on."""

    def __init__(self) -> None:
        self.epochs = array("Q")
        self.start = 0

    def close(self, now_ms: int) -> None:
        """All epochs are known."""
        self.epochs = array("Q", sorted(set(self.epochs)))
        self.start = max(now_ms * _PER_MS, self.start)

    def epoch(self, old: int) -> int:
        """The new epoch of an old one."""
        return self.start + bisect_left(self.epochs, old)

    @property
    def next(self) -> int:
        """Number of the next input."""
        return self.start + len(self.epochs)


class Renumbering:
    """See the module: show it every entry, then let it change every entry.

    Args:
        now_ms: Time of the restore.
    """

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self._sandboxes: dict[bytes, _Sandbox] = {}

    def look(self, entries: Iterable[Entry]) -> None:
        """Note the numbers of some entries."""
        for key, value in entries:
            prefix, rest = _parts(key)
            if rest[:1] == PROFILE:
                self._sandbox(prefix).epochs.append(_epoch(value).epoch)
            elif rest == _CURSOR:
                self._sandbox(prefix).start = records.decode_cursor(value).ordinal

    def _sandbox(self, prefix: bytes) -> _Sandbox:
        return self._sandboxes.setdefault(prefix, _Sandbox())

    def close(self) -> None:
        """Every entry was shown."""
        for sandbox in self._sandboxes.values():
            sandbox.close(self._now_ms)

    def changed(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """The entries as they are restored."""
        for key, value in entries:
            prefix, rest = _parts(key)
            sandbox = self._sandboxes.get(prefix)
            if sandbox is None:
                yield key, value
            elif rest[:1] == PROFILE:
                yield key, with_epoch(value, sandbox.epoch(_epoch(value).epoch))
            elif rest[:1] == IDENTITY:
                row = records.decode_index_row(value)
                row.epoch = sandbox.epoch(row.epoch)
                yield key, records.encode(row)
            elif rest == _CURSOR:
                cursor = records.decode_cursor(value)
                cursor.ordinal = sandbox.next
                yield key, records.encode(cursor)
            else:
                yield key, value

    def finish(self, state: State) -> None:
        """Note where each sandbox goes on, and end the open page: rows of a page follow one another."""
        batch = state.batch()
        for prefix, sandbox in self._sandboxes.items():
            keys = Keys(prefix[:-1].decode())
            batch.put(keys.restored, records.encode(sandbox.next))
            Roll(state, keys, JOURNAL).seal(batch)
        state.commit(batch)


def _parts(key: bytes) -> tuple[bytes, bytes]:
    prefix, zero, rest = key.partition(b"\0")
    return prefix + zero, rest


def restored_at(state: State, keys: Keys) -> int:
    """Number of the first input after the last restore; 0 in a folder that was never restored."""
    stored = state.get_many([keys.restored])[0]
    return msgspec.msgpack.decode(stored, type=int) if stored else 0
