"""A log that a crash or a disk left behind opens with what was acknowledged, or is refused; opening returns."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import FolderDamagedError
from headrace.state import wal
from headrace.state.rocksdb import RocksState
from tests.state.contract import everything, put


def opened(folder: Path) -> RocksState:
    """A small state."""
    return RocksState(folder, cache_bytes=1 << 20, memtable_bytes=1 << 20)


def _with_log(tmp_path: Path, change: Callable[[bytearray], bytearray | bytes]) -> Path:
    """A copy of a folder as a crash leaves it, 40 synced commits in its log, and the log changed."""
    state = opened(tmp_path / "live")
    for n in range(40):
        put(state, **{f"k{n:02d}": os.urandom(200)})
        state.sync()
    shutil.copytree(tmp_path / "live", tmp_path / "copy")
    state.close()
    log = max((tmp_path / "copy" / "db").glob("*.log"), key=lambda path: path.stat().st_size)
    log.write_bytes(change(bytearray(log.read_bytes())))
    return tmp_path / "copy"


def _flipped(log: bytearray) -> bytearray:
    log[len(log) // 2] ^= 0xFF
    return log


@pytest.fixture(scope="module")
def torn(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], Path]:
    """Makes a folder whose log holds 40 commits and then what is given, anew at each call."""
    base = tmp_path_factory.mktemp("torn")
    whole = _with_log(base, bytes)

    def make(end: bytes) -> Path:
        copy = base / "again"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(whole, copy)
        log = max((copy / "db").glob("*.log"), key=lambda path: path.stat().st_size)
        log.write_bytes(log.read_bytes() + end)
        return copy

    return make


def _record(kind: int, length: int) -> bytes:
    """150 bytes that begin as a record of a type, with a wrong checksum."""
    return b"\x12\x34\x56\x78" + length.to_bytes(2, "little") + bytes((kind,)) + b"\xaa" * 143


@pytest.mark.parametrize("lost", [1, 100, 3000])
def test_a_torn_log_opens_with_what_is_whole(tmp_path: Path, lost: int) -> None:
    """Cut at any place, as by a crash in the middle of a write, it holds a run of commits from the first, no gap."""
    state = opened(_with_log(tmp_path, lambda log: log[:-lost]))
    found = sorted(everything(state))
    state.close()
    assert found == [b"k%02d" % n for n in range(len(found))]
    assert 40 - lost // 200 - 2 <= len(found) < 40


@pytest.mark.parametrize("kind", [*range(14), *range(128, 134), 255])
def test_a_log_torn_at_its_end_opens_with_all_of_it(torn: Callable[[bytes], Path], kind: int) -> None:
    """What was being written and has no whole record yet is dropped, whatever it looks like."""
    state = opened(torn(_record(kind, 60_000)))
    assert len(everything(state)) == 40
    state.close()


@pytest.mark.parametrize("kind", [1, 5, 6, 7, 8, 11, 12, 131, 255])
def test_what_looks_like_a_whole_record_and_is_none_is_refused(torn: Callable[[bytes], Path], kind: int) -> None:
    """It may have been acknowledged: it is refused, twice in the same words, and cut where one says so."""
    folder = torn(_record(kind, 50))
    for _ in range(2):
        with pytest.raises(FolderDamagedError, match="checksum mismatch"):
            opened(folder)
    state = RocksState(folder, cut_damaged_log=True)
    assert len(everything(state)) == 40
    state.close()


@given(garbage=st.binary(min_size=1, max_size=400))
def test_whatever_follows_the_last_record_is_dropped_or_refused(
    torn: Callable[[bytes], Path], garbage: bytes
) -> None:
    """Any bytes at the end: opening comes back, with all that was acknowledged or with the error."""
    with contextlib.suppress(FolderDamagedError):
        state = opened(torn(garbage))
        assert len(everything(state)) == 40
        state.close()


@given(data=st.data())
def test_a_log_with_any_byte_changed_opens_or_is_refused(torn: Callable[[bytes], Path], data: st.DataObject) -> None:
    """Wherever it is, in a header or in a value: opening comes back, with commits from the first and no gap."""
    folder = torn(b"")
    log = max((folder / "db").glob("*.log"), key=lambda path: path.stat().st_size)
    content = bytearray(log.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    log.write_bytes(content)
    with contextlib.suppress(FolderDamagedError):
        state = opened(folder)
        found = sorted(everything(state))
        assert found == [b"k%02d" % n for n in range(len(found))]
        state.close()


def test_what_a_disk_left_in_several_blocks_is_passed(tmp_path: Path) -> None:
    """Old blocks behind the end: RocksDB looks at the beginning of each of them."""
    old = (_record(11, 40_000) + bytes(32 << 10))[: 32 << 10]
    folder = _with_log(tmp_path, lambda log: log + bytes(-len(log) % (32 << 10)) + old * 3 + old[:100])
    with pytest.raises(FolderDamagedError):
        opened(folder)
    state = RocksState(folder, cut_damaged_log=True)
    assert len(everything(state)) == 40
    state.close()


def test_a_log_as_it_was_written_is_left_alone(tmp_path: Path) -> None:
    """Of large commits, over many blocks, cut anywhere, while it is being written too: no byte of it is changed."""
    state = opened(tmp_path)
    for n in range(40):
        put(state, **{f"k{n:02d}": os.urandom(n * 1000)})
        state.sync()
        assert wal.readable(tmp_path / "db") == []
    log = max((tmp_path / "db").glob("*.log"), key=lambda path: path.stat().st_size)
    content = log.read_bytes()
    (tmp_path / "cut").mkdir()
    for lost in range(0, len(content), 997):
        (tmp_path / "cut" / "000001.log").write_bytes(content[: len(content) - lost])
        assert wal.readable(tmp_path / "cut") == []
    state.close()


def test_a_log_damaged_in_its_middle_is_refused(tmp_path: Path) -> None:
    """What follows the damage was acknowledged: it is not dropped in silence. The error says both ways out."""
    folder = _with_log(tmp_path, _flipped)
    with pytest.raises(FolderDamagedError) as caught:
        opened(folder)
    assert str(folder) in str(caught.value)
    assert "backup" in str(caught.value)
    assert "HEADRACE_DAMAGED_LOG=cut" in str(caught.value)
    with pytest.raises(FolderDamagedError):
        opened(folder)


def test_a_damaged_log_is_cut_where_one_says_so(tmp_path: Path) -> None:
    """What lies before the damage is there, what follows is lost, and the folder opens as ever afterwards."""
    folder = _with_log(tmp_path, _flipped)
    state = RocksState(folder, cache_bytes=1 << 20, memtable_bytes=1 << 20, cut_damaged_log=True)
    found = sorted(everything(state))
    assert found == [b"k%02d" % n for n in range(len(found))]
    assert 0 < len(found) < 40
    put(state, after=b"1")
    state.close()
    again = opened(folder)
    assert len(everything(again)) == len(found) + 1
    again.close()


@pytest.mark.parametrize("kind", [5, 8, 11, 131])
@pytest.mark.parametrize("which", [1, -1], ids=["within", "at the end"])
def test_a_damaged_manifest_is_refused(torn: Callable[[bytes], Path], kind: int, which: int) -> None:
    """The list of tables is read by the same reader: it says that it is damaged, instead of never coming back."""
    folder = torn(b"")
    manifest = next((folder / "db").glob("MANIFEST-*"))
    content = bytearray(manifest.read_bytes())
    starts = [0]
    while (after := starts[-1] + 7 + int.from_bytes(content[starts[-1] + 4 : starts[-1] + 6], "little")) < len(
        content
    ):
        starts.append(after)
    content[starts[which] + 6] = kind
    content[starts[which] + 7] ^= 0xFF
    manifest.write_bytes(content)
    with pytest.raises(FolderDamagedError, match="checksum mismatch"):
        opened(folder)
    content[starts[which] + 7] ^= 0xFF  # the type alone: its checksum shows that it was a usual one
    manifest.write_bytes(content)
    state = opened(folder)
    assert len(everything(state)) == 40
    state.close()
