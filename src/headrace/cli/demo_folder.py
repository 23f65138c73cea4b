"""Where a demo keeps its data: one demo at a time on a folder, and what the next start goes on with."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from headrace.errors import RefusedError

_NAME: Final = "demo.json"


class Kept(msgspec.Struct, kw_only=True):
    """What a demo remembers of its first start.

    Attributes:
        port: Of the local Kinesis, which connections made in the console name.
        starts: How often it was started.
        org: Organisation id.
        login: Of the administrator.
        password: The administrator's.
        client_id: Of the administrator's client.
        client_secret: The client's.
        person: E-mail address of somebody of the first sample, to be looked up; "" where an older demo chose none.
    """

    port: int
    starts: int
    org: str
    login: str
    password: str
    client_id: str
    client_secret: str
    person: str = ""


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the folder of a demo; a process that is killed lets go of it.

    Raises:
        RefusedError: A demo runs on it already.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder.with_name(f"{folder.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise RefusedError(
            f"a demo runs already on {folder}; end it, or choose another folder with --data-dir"
        ) from None
    try:
        yield
    finally:
        os.close(handle)


def kept(folder: Path) -> Kept | None:
    """What an earlier demo left to go on with; None when there was none, or it ended before it was set up."""
    try:
        return msgspec.json.decode((folder / _NAME).read_bytes(), type=Kept)
    except (OSError, msgspec.DecodeError):
        return None


def keep(folder: Path, what: Kept) -> None:
    """Remember it, readable by the owner alone: its secrets open nothing but this demo."""
    new = folder / f"{_NAME}.new"
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(handle, "wb") as file:
        file.write(msgspec.json.encode(what))
    new.replace(folder / _NAME)
