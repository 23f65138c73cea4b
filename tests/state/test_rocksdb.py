"""The state on disk keeps the contract, outlives SIGKILL, and says who holds a folder and who wrote it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.errors import FolderBusyError, FolderDamagedError, FolderFormatError, StorageError
from headrace.state.rocksdb import DISK_FORMAT, RocksState
from tests.state.contract import StateContract, everything, put

ROOT = Path(__file__).parents[2]


def opened(folder: Path) -> RocksState:
    """A small state."""
    return RocksState(folder, cache_bytes=1 << 20, memtable_bytes=1 << 20)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[RocksState]:
    state = opened(tmp_path / "folder")
    yield state
    state.close()


class TestRocksState(StateContract):
    """T1 to T5 on disk."""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A child that holds ``tmp_path / "held"`` and has said so."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.state.holder", str(tmp_path / "held"), "20"],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert child.stdout is not None
    lines = []
    for line in child.stdout:
        lines.append(line.strip())
        if line == "held\n":
            break
    assert lines == [*map(str, range(20)), "held"]
    yield child
    child.kill()
    child.wait(10)
    child.stdout.close()


def test_a_folder_held_by_another_process_is_refused_with_its_pid(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    """The error names the process, the folder and both ways out; once the process is gone the folder opens."""
    with pytest.raises(FolderBusyError) as caught:
        opened(tmp_path / "held")
    said = str(caught.value)
    assert f"process {holder.pid}" in said
    assert str(tmp_path / "held") in said
    assert "stop that process" in said
    assert "--data-dir" in said
    assert "HEADRACE_DATA_DIR" in said
    holder.kill()
    holder.wait(10)
    opened(tmp_path / "held").close()


def test_t3_what_was_synced_survives_sigkill(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    """Every key that the child said was durable is there after SIGKILL; of an unsynced batch all or nothing."""
    holder.kill()
    holder.wait(10)
    state = opened(tmp_path / "held")
    found = everything(state)
    state.close()
    assert {key for key in found if key.startswith(b"k")} == {b"k%06d" % n for n in range(20)}
    assert found[b"last"] == b"19"
    assert (b"unsynced" in found) == (b"unsynced-too" in found)


def test_a_stale_owner_does_not_keep_anybody_out(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    """What a killed process left behind about itself is overwritten, and removed at the end."""
    holder.kill()
    holder.wait(10)
    owner = tmp_path / "held" / "owner"
    assert owner.read_text() == str(holder.pid)
    state = opened(tmp_path / "held")
    assert owner.read_text() == str(os.getpid())
    state.close()
    assert not owner.exists()


def test_a_folder_is_busy_within_one_process_too(tmp_path: Path) -> None:
    """Opening it twice names this very process."""
    state = opened(tmp_path)
    with pytest.raises(FolderBusyError, match=f"process {os.getpid()}"):
        opened(tmp_path)
    state.close()


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    """The error says both formats and what to do, and the folder is left as it is."""
    opened(tmp_path).close()
    marker = tmp_path / "FORMAT"
    marker.write_text(f'{{"format":{DISK_FORMAT + 1},"product":"headrace"}}\n')
    before = marker.read_bytes()
    with pytest.raises(FolderFormatError, match=rf"format {DISK_FORMAT + 1}.*up to {DISK_FORMAT}.*run the version"):
        opened(tmp_path)
    assert marker.read_bytes() == before


def test_an_unreadable_format_is_refused(tmp_path: Path) -> None:
    """A marker that is none is not guessed at."""
    opened(tmp_path).close()
    (tmp_path / "FORMAT").write_bytes(b"\xff what is this")
    with pytest.raises(FolderFormatError, match="unreadable"):
        opened(tmp_path)


def test_a_database_without_format_is_refused(tmp_path: Path) -> None:
    """A folder that holds a database of unknown making is not touched."""
    opened(tmp_path).close()
    (tmp_path / "FORMAT").unlink()
    with pytest.raises(FolderFormatError, match="unknown"):
        opened(tmp_path)
    assert not (tmp_path / "FORMAT").exists()


def test_the_format_is_written_whole(tmp_path: Path) -> None:
    """Beside the marker no half-written one remains, and a crash before it was in place changes nothing."""
    (tmp_path / "FORMAT.new").write_bytes(b"{")
    state = opened(tmp_path)
    put(state, a=b"1")
    state.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["FORMAT", "db"]


def test_what_cannot_be_opened_is_not_called_busy(tmp_path: Path) -> None:
    """A path in the way, or a lock that is no file, is a fault of the disk and not another process."""
    (tmp_path / "LOCKED").write_text("a file")
    with pytest.raises(StorageError, match="LOCKED"):
        opened(tmp_path / "LOCKED")
    opened(tmp_path / "folder").close()
    (tmp_path / "folder" / "db" / "LOCK").unlink()
    (tmp_path / "folder" / "db" / "LOCK").mkdir()
    with pytest.raises(StorageError, match="lock"):
        opened(tmp_path / "folder")


def test_a_closed_state_answers_with_our_error(tmp_path: Path) -> None:
    """Using it after close raises StorageError, not something of the library's own."""
    state = opened(tmp_path)
    put(state, a=b"1")
    state.close()
    with pytest.raises(StorageError):
        state.get_many([b"a"])
    with pytest.raises(StorageError):
        list(state.scan(b"a", b"b"))
    with pytest.raises(StorageError):
        state.sync()


def test_everything_is_there_after_closing_and_opening(tmp_path: Path) -> None:
    """Also what was never synced: close flushes."""
    state = opened(tmp_path)
    put(state, a=b"1", b=b"2")
    state.close()
    again = opened(tmp_path)
    assert everything(again) == {b"a": b"1", b"b": b"2"}
    again.close()


def test_a_damaged_table_is_refused_when_it_is_read(tmp_path: Path) -> None:
    """A wrong checksum of what was flushed long ago ends no scan early: every way to read it says so."""
    state = RocksState(tmp_path / "a", cache_bytes=1 << 20, memtable_bytes=1 << 16)
    for n in range(200):
        put(state, **{f"k{n:03d}": os.urandom(1000)})
    state.close()
    table = max((tmp_path / "a" / "db").glob("*.sst"), key=lambda path: path.stat().st_size)
    content = bytearray(table.read_bytes())
    content[len(content) // 4] ^= 0xFF
    table.write_bytes(content)
    state = opened(tmp_path / "a")
    for reading in (
        lambda: list(state.scan(b"k", b"l")),
        lambda: list(state.scan_back(b"k", b"l")),
        lambda: list(state.snapshot()),
        lambda: state.get_many([b"k%03d" % n for n in range(200)]),
    ):
        with pytest.raises(FolderDamagedError, match="mismatch"):
            reading()
    with contextlib.suppress(FolderDamagedError):  # a compaction may have met it meanwhile
        state.close()


def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    """Its owner's permissions, or those of a folder above, are named."""
    if os.geteuid() == 0:
        pytest.skip("nothing is forbidden to root; tests/e2e/test_storage.py mounts a read-only disk")
    opened(tmp_path / "a").close()
    (tmp_path / "a" / "db").chmod(0o500)
    with pytest.raises(StorageError, match="ermission"):
        opened(tmp_path / "a")
    (tmp_path / "a" / "db").chmod(0o700)


@pytest.mark.parametrize("earlier", [False, True], ids=["in memory", "in a table"])
def test_what_was_deleted_is_in_no_file_after_compaction(tmp_path: Path, earlier: bool) -> None:
    """Neither its key nor its value: not in a table, not in the log, not in the list of tables."""

    def holding() -> list[str]:
        return [p.name for p in tmp_path.rglob("*") if p.is_file() and b"planted" in p.read_bytes()]

    state = RocksState(tmp_path)
    batch = state.batch()
    for key in (b"planted-first", b"prod", b"planted-last"):
        batch.put(key, b"planted-value")
    batch.put(b"kept", b"kept")
    state.commit(batch)
    state.sync()
    if earlier:
        state.compact()
    assert holding() != []
    batch = state.batch()
    for key in (b"planted-first", b"prod", b"planted-last"):
        batch.delete(key)
    state.commit(batch)
    state.compact()
    assert holding() == []
    assert list(state.snapshot()) == [(b"kept", b"kept")]
    state.close()
    assert holding() == []
