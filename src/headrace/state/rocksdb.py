"""The embedded state: one RocksDB in the data folder, through rocksdict in raw mode.

Writes go to the memory table and the log unsynced; ``sync`` flushes and syncs the log, which releases the
interpreter lock, so it can run in a thread while the next batch is decided.

Scans ask the iterator how it ended: rocksdict's own ``items`` take a block that cannot be read for the end.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from rocksdict import (
    BlockBasedOptions,
    BottommostLevelCompaction,
    Cache,
    CompactOptions,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
)

from headrace.errors import FolderBusyError, FolderDamagedError, FolderFormatError, StorageError
from headrace.state import wal

DISK_FORMAT: Final = 1
"""Version of everything below the data folder; grows when an older Headrace could not read it."""

_BUSY: Final = ("while lock file:", "lock hold by current process")
"""What RocksDB says of a lock that is held: by another process, by this one."""

_DAMAGED: Final = "corruption:"
"""Begins what RocksDB says of content whose checksum is wrong, or that is missing."""


class _Marker(msgspec.Struct):
    format: int
    product: str = "headrace"


class RocksState:
    """See ``state.base.State``.

    Args:
        folder: The data folder; made when missing. The database lies in ``folder/db``.
        cache_bytes: Block cache.
        memtable_bytes: One memory table; up to three exist at once.
        cut_damaged_log: Go on with what lies before a damage of the log; else it is refused.

    Raises:
        FolderBusyError: Another process holds it.
        FolderDamagedError: What was stored is no longer readable, in the log or elsewhere.
        FolderFormatError: A newer version wrote it.
        StorageError: It cannot be opened.
    """

    def __init__(
        self,
        folder: Path,
        *,
        cache_bytes: int = 64 << 20,
        memtable_bytes: int = 32 << 20,
        cut_damaged_log: bool = False,
    ) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StorageError(problem=f"{folder}: {error.strerror}") from None
        self._check_format()
        try:
            options = _options(cache_bytes, memtable_bytes)
            options.set_wal_recovery_mode(_recovery(cut=cut_damaged_log))
            wal.readable(folder / "db")
            self._db = Rdict(str(folder / "db"), options)
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing more specific
            text = str(error)
            if any(sign in text.lower() for sign in _BUSY):
                raise FolderBusyError(path=str(folder), owner=_owner(folder)) from None
            raise _error(text, folder) from None
        self._closed = False
        with contextlib.suppress(OSError):  # it only says who to ask; a full disk shows itself at the next commit
            (folder / "owner").write_text(str(os.getpid()))

    def _check_format(self) -> None:
        marker = self._folder / "FORMAT"
        if not marker.exists():
            if (self._folder / "db").exists():
                raise FolderFormatError(path=str(self._folder), found="unknown", known=DISK_FORMAT)
            try:
                _write_whole(marker, msgspec.json.encode(_Marker(DISK_FORMAT)) + b"\n")
            except OSError as error:
                raise StorageError(problem=f"{marker}: {error.strerror}") from None
            return
        try:
            found = msgspec.json.decode(marker.read_bytes(), type=_Marker).format
        except OSError as error:
            raise StorageError(problem=f"{marker}: {error.strerror}") from None
        except msgspec.MsgspecError:
            raise FolderFormatError(path=str(self._folder), found="unreadable", known=DISK_FORMAT) from None
        if found > DISK_FORMAT:
            raise FolderFormatError(path=str(self._folder), found=str(found), known=DISK_FORMAT)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See ``state.base.State``."""
        if not keys:
            return []
        with _translated(self._folder):
            found: list[bytes | None] = self._db.get(list(keys))  # type: ignore[assignment]
            return found

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """See ``state.base.State``."""
        read = ReadOptions()
        read.set_iterate_upper_bound(end)
        with _translated(self._folder):
            found = self._db.iter(read)
            found.seek(start)
            while found.valid():
                yield found.key(), found.value()
                found.next()
            found.status()

    def scan_back(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """See ``state.base.State``."""
        with _translated(self._folder):
            found = self._db.iter()
            found.seek_for_prev(end)
            while found.valid():
                key = found.key()
                if key < start:
                    return
                if key != end:
                    yield key, found.value()
                found.prev()
            found.status()

    def snapshot(self) -> Iterator[tuple[bytes, bytes]]:
        """Every key and value as of now, in byte order, whatever is committed meanwhile."""
        with _translated(self._folder):
            found = self._db.snapshot().iter()
            found.seek_to_first()
            while found.valid():
                yield found.key(), found.value()
                found.next()
            found.status()

    def batch(self) -> Any:
        """See ``state.base.State``."""
        return WriteBatch(raw_mode=True)

    def commit(self, batch: Any) -> None:
        """See ``state.base.State``."""
        with _translated(self._folder):
            self._db.write(batch)

    def sync(self) -> None:
        """See ``state.base.State``."""
        with _translated(self._folder):
            self._db.flush_wal(True)

    def compact(self) -> None:
        """See ``state.base.State``."""
        with _translated(self._folder):
            self._db.flush()
            # Every table is written anew: one that overlaps no other would only be moved to the last level, and the
            # marks of what was deleted, which hold its key, with it.
            whole = CompactOptions()
            whole.set_bottommost_level_compaction(BottommostLevelCompaction.force_optimized())
            self._db.compact_range(None, None, whole)
            # The manifest names the first and last key of every table, also of those that are no more. At its size of
            # one byte each edit begins a new one with the tables there are: so one more edit, by deleting nothing.
            self._db.delete(b"\0")
            self._db.flush()

    def close(self) -> None:
        """See ``state.base.State``."""
        if not self._closed:
            self._closed = True
            with contextlib.suppress(OSError):
                (self._folder / "owner").unlink()
            with _translated(self._folder):
                try:
                    self._db.flush_wal(True)
                finally:
                    self._db.close()


def _recovery(*, cut: bool) -> DBRecoveryMode:
    """What is done about a log that does not read to its end.

    A record cut short at the end is what a crash leaves of a commit that was not acknowledged: dropped either way.
    RocksDB's own default also drops, and tells nobody, all that follows a wrong checksum in the middle: that was
    synced and acknowledged, so it is refused unless one says otherwise.
    """
    return DBRecoveryMode.point_in_time() if cut else DBRecoveryMode.tolerate_corrupted_tail_records()


def _error(text: str, folder: Path) -> StorageError | FolderDamagedError:
    if text.lower().startswith(_DAMAGED):
        return FolderDamagedError(path=str(folder), problem=text)
    return StorageError(problem=text)


@contextlib.contextmanager
def _translated(folder: Path) -> Iterator[None]:
    """Turn what RocksDB answers, which rocksdict raises as a plain ``Exception``, into ours."""
    try:
        yield
    except Exception as error:
        if type(error) is Exception or type(error).__module__ == "rocksdict":
            raise _error(str(error), folder) from None
        raise


def _options(cache_bytes: int, memtable_bytes: int) -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(memtable_bytes)
    options.set_max_write_buffer_number(3)
    options.set_max_background_jobs(2)
    # Twice the usual: what is merged has often been settled and deleted by then, and filters keep reads short.
    options.set_level_zero_file_num_compaction_trigger(8)
    # Most keys that are looked for in the memory table are not there: new identities, new profiles.
    options.set_memtable_whole_key_filtering(True)
    options.set_memtable_prefix_bloom_ratio(0.03)
    # What is flushed is merged soon, and much of it is deleted by then: it is compressed when it is merged.
    options.set_compression_per_level([DBCompressionType.none(), DBCompressionType.lz4()])
    options.set_max_total_wal_size(4 * memtable_bytes)
    options.set_keep_log_file_num(3)
    options.set_max_manifest_file_size(1)  # see compact; some kilobytes at each flush and compaction
    options.set_level_compaction_dynamic_level_bytes(True)
    tables = BlockBasedOptions()
    tables.set_block_cache(Cache(cache_bytes))
    tables.set_bloom_filter(10, False)
    tables.set_cache_index_and_filter_blocks(True)
    tables.set_pin_l0_filter_and_index_blocks_in_cache(True)
    tables.set_block_size(16 << 10)
    options.set_block_based_table_factory(tables)
    return options


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a crash leaves all of it or nothing: half a marker would lock its owner out."""
    new = path.with_suffix(".new")
    with open(new, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _owner(folder: Path) -> str:
    """Who holds the folder, in words, as far as it said so."""
    with contextlib.suppress(OSError):
        return f"process {(folder / 'owner').read_text().strip()}"
    return ""
