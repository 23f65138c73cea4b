"""Back a data folder up into one file, and restore it into another folder.

A backup is a snapshot of every key, so it is consistent at one commit, however long the copying takes and
whatever is committed meanwhile. Loss bound: what was committed before the backup began is in it, nothing after.
It holds the installation key and all profiles: it is as secret as the folder itself.

The file: a line of JSON (what it is), then chunks of 4 bytes length and a zstd frame of [[key, value], …],
then a zero length and a line of JSON with the number of keys and the hash of all chunks.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import zstandard

from headrace.errors import RefusedError, StorageError
from headrace.state.restored import Renumbering
from headrace.state.rocksdb import DISK_FORMAT, RocksState

FORMAT: Final = 1
KEY_FILE: Final = "installation.key"
_CHUNK_BYTES: Final = 1 << 20


class Head(msgspec.Struct):
    """What a backup says of itself."""

    product: str
    format: int
    disk_format: int
    created_ms: int
    installation_key: bytes


class Tail(msgspec.Struct):
    """Ends a whole backup."""

    keys: int
    digest: str


def back_up(state: RocksState, installation_key: bytes, target: Path, now_ms: int) -> Tail:
    """Write a backup.

    Args:
        state: What to back up; it may be written to meanwhile.
        installation_key: Goes along: without it, profile ids would change.
        target: The file; it must not exist. It appears whole or not at all.
        now_ms: For its head.

    Raises:
        RefusedError: The file exists.
        StorageError: The disk refused.
    """
    part = target.with_name(target.name + ".part")
    if target.exists():
        raise RefusedError(f"{target} exists; a backup does not overwrite: choose another name, or remove it")
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(handle, "wb") as file:
            head = Head("headrace-backup", FORMAT, DISK_FORMAT, now_ms, installation_key)
            file.write(msgspec.json.encode(head) + b"\n")
            tail = _write_chunks(file, state.snapshot())
            file.write((0).to_bytes(4, "big") + msgspec.json.encode(tail) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        part.rename(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StorageError(problem=f"{target}: {error.strerror}") from None
    return tail


def _write_chunks(file: BinaryIO, entries: Iterator[tuple[bytes, bytes]]) -> Tail:
    compress = zstandard.ZstdCompressor(level=3).compress
    digest = hashlib.blake2b(digest_size=16)
    count = size = 0
    chunk: list[tuple[bytes, bytes]] = []

    def put() -> None:
        packed = compress(msgspec.msgpack.encode(chunk))
        digest.update(packed)
        file.write(len(packed).to_bytes(4, "big") + packed)

    for key, value in entries:
        chunk.append((key, value))
        count += 1
        size += len(key) + len(value)
        if size >= _CHUNK_BYTES:
            put()
            chunk, size = [], 0
    if chunk:
        put()
    return Tail(count, digest.hexdigest())


def restore(source: Path, folder: Path, now_ms: int) -> Tail:
    """Make a data folder of a backup. What follows in it is told apart from what was lost (``state/restored.py``).

    Args:
        source: The file.
        folder: It must not exist, or be empty.
        now_ms: Time of the restore.

    Raises:
        RefusedError: The folder holds something, or the file is no whole backup; the folder is then left as it was.
        StorageError: The disk refused.
    """
    if folder.exists() and any(folder.iterdir()):
        raise RefusedError(f"{folder} is not empty; restore into a folder of its own with --data-dir")
    try:
        with source.open("rb") as file:
            head = _head(file, source)
            expected = _verify(file, source)
            renumbering = Renumbering(now_ms)
            for entries in _chunks(file, source):
                renumbering.look(entries)
            renumbering.close()
            state = RocksState(folder)
            try:
                for entries in _chunks(file, source):
                    batch = state.batch()
                    for key, value in renumbering.changed(entries):
                        batch.put(key, value)
                    state.commit(batch)
                renumbering.finish(state)
                state.sync()
            finally:
                state.close()
            handle = os.open(folder / KEY_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(handle, "wb") as key_file:
                key_file.write(head.installation_key)
                key_file.flush()
                os.fsync(key_file.fileno())
    except OSError as error:
        raise StorageError(problem=f"{error.filename or source}: {error.strerror}") from None
    return expected


def _head(file: BinaryIO, source: Path) -> Head:
    try:
        head = msgspec.json.decode(file.readline(1 << 16), type=Head)
    except msgspec.MsgspecError:
        raise RefusedError(f"{source} is not a backup of Headrace") from None
    if head.format > FORMAT or head.disk_format > DISK_FORMAT:
        raise RefusedError(f"{source} was made by a newer version; restore it with that version")
    return head


def _verify(file: BinaryIO, source: Path) -> Tail:
    """Read the whole file once before anything is written: a backup cut short is refused."""
    digest = hashlib.blake2b(digest_size=16)
    while True:
        size = int.from_bytes(_exactly(file, 4, source), "big")
        if not size:
            break
        digest.update(_exactly(file, size, source))
    try:
        tail = msgspec.json.decode(file.readline(), type=Tail)
    except msgspec.MsgspecError:
        raise _damaged(source) from None
    if tail.digest != digest.hexdigest():
        raise _damaged(source)
    return tail


def _chunks(file: BinaryIO, source: Path) -> Iterator[list[tuple[bytes, bytes]]]:
    file.seek(0)
    file.readline()
    expand = zstandard.ZstdDecompressor().decompress
    decode = msgspec.msgpack.Decoder(list[tuple[bytes, bytes]]).decode
    while size := int.from_bytes(_exactly(file, 4, source), "big"):
        yield decode(expand(_exactly(file, size, source)))


def _exactly(file: BinaryIO, size: int, source: Path) -> bytes:
    found = file.read(size)
    if len(found) != size:
        raise _damaged(source)
    return found


def _damaged(source: Path) -> RefusedError:
    return RefusedError(f"{source} is damaged or was cut short; nothing was restored: take another backup")
