"""The data folder: its key, its lock, its backups."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from headrace.clock import System
from headrace.errors import StateError, StorageError
from headrace.settings import Settings
from headrace.state.backup import Tail, restore
from headrace.state.rocksdb import RocksState

_KEY_BYTES: Final = 32
_MIB: Final = 1 << 20


def installation_key(settings: Settings) -> bytes:
    """The key that names profiles: the setting's, or the folder's own, made at first use."""
    given = settings.installation_key.reveal()
    if given:
        return hashlib.sha256(given.encode()).digest()
    path = settings.data_dir / "installation.key"
    try:
        with contextlib.suppress(FileNotFoundError):
            key = path.read_bytes()
            if len(key) != _KEY_BYTES:
                raise StateError(f"{path} is damaged; give the original back: without it, profile ids would change")
            return key
        return _made(path)
    except OSError as error:
        raise StorageError(problem=f"{path}: {error.strerror}") from None


def _made(path: Path) -> bytes:
    """A new key, on disk whole before it is used: half a key would lock its owner out."""
    key = secrets.token_bytes(_KEY_BYTES)
    new = path.with_suffix(".new")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(handle, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    return key


@contextlib.contextmanager
def open_state(settings: Settings) -> Iterator[RocksState]:
    """Hold the data folder.

    Raises:
        StateError: It is held, of a newer format, or unreadable.
    """
    state = RocksState(
        settings.data_dir,
        cache_bytes=max(settings.memory_bytes // 8, 8 * _MIB),
        memtable_bytes=min(max(settings.memory_bytes // 8, 4 * _MIB), 64 * _MIB),
        cut_damaged_log=settings.damaged_log == "cut",
    )
    try:
        yield state
    except BaseException:
        with contextlib.suppress(StateError):  # what went wrong first is what is told
            state.close()
        raise
    state.close()


def restore_folder(settings: Settings, source: Path) -> Tail:
    """Make the data folder of a backup; it must be empty."""
    return restore(source, settings.data_dir, System().now_ms())
