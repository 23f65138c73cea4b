"""Disks that fail in earnest: a small one, one that turns read-only, one that cannot be written to.

They are mounted where this process may mount; a test that needs one is skipped elsewhere, with the reason. The limit
on the size of a file needs no permission: a file that may not grow refuses writes as a full disk does.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

BOUND_S = 30.0


def _mount(*arguments: str) -> None:
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount a disk")
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, timeout=BOUND_S, check=False)
    if done.returncode:
        pytest.skip(f"a disk cannot be mounted here: {done.stderr.strip()}")


def _unmount(path: Path) -> None:
    subprocess.run(["umount", "--lazy", str(path)], timeout=BOUND_S, check=True)


@contextlib.contextmanager
def small_disk(path: Path, size_mib: int) -> Iterator[None]:
    """A disk of so many MiB at *path*, in memory."""
    path.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={size_mib}m,mode=0700", "tmpfs", str(path))
    try:
        yield
    finally:
        _unmount(path)


def resize(path: Path, size_mib: int) -> None:
    """Make a small disk larger, while it is in use."""
    _mount("-o", f"remount,size={size_mib}m", str(path))


@contextlib.contextmanager
def file_disk(path: Path, image: Path, size_mib: int) -> Iterator[None]:
    """A disk of so many MiB with a file system that keeps a journal, in a file."""
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("mkfs.ext4 is not installed")
    with image.open("wb") as file:
        file.truncate(size_mib << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], timeout=BOUND_S, check=True)
    path.mkdir()
    _mount("-o", "loop", str(image), str(path))
    try:
        yield
    finally:
        _unmount(path)


def turn_read_only(path: Path) -> None:
    """What the kernel does to a disk whose journal failed: every write is refused from now on, files open or not."""
    _mount("-o", "remount,abort", str(path))


def seal(path: Path) -> None:
    """Make a disk read-only in good order: what is on it is whole."""
    _mount("-o", "remount,ro", str(path))
