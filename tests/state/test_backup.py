"""Backups: consistent at one commit, refused when damaged, restored elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.errors import RefusedError
from headrace.state.backup import KEY_FILE, back_up, restore
from headrace.state.rocksdb import RocksState

KEY = bytes(range(32))


def filled(folder: Path, count: int) -> RocksState:
    state = RocksState(folder)
    batch = state.batch()
    for number in range(count):
        batch.put(b"k%06d" % number, bytes(str(number), "ascii") * 50)
    state.commit(batch)
    return state


def test_restored_elsewhere_it_is_the_same(tmp_path: Path) -> None:
    """Every key and value, and the installation key, come back in another folder."""
    state = filled(tmp_path / "one", 20_000)
    before = list(state.scan(b"", b"\xff"))
    made = back_up(state, KEY, tmp_path / "backup", 1)
    state.close()
    assert made.keys == 20_000
    assert restore(tmp_path / "backup", tmp_path / "two", 1) == made
    again = RocksState(tmp_path / "two")
    assert list(again.scan(b"", b"\xff")) == before
    again.close()
    assert (tmp_path / "two" / KEY_FILE).read_bytes() == KEY
    assert (tmp_path / "backup").stat().st_mode & 0o077 == 0


def test_what_is_committed_meanwhile_is_not_in_it(tmp_path: Path) -> None:
    """The loss bound: a commit made while the backup is being read is left out, whole."""
    state = filled(tmp_path / "one", 1_000)
    entries = state.snapshot()
    first = next(entries)
    batch = state.batch()
    batch.put(b"k000500", b"changed")
    batch.put(b"later", b"later")
    state.commit(batch)
    found = dict([first, *entries])
    assert len(found) == 1_000
    assert found[b"k000500"] != b"changed"
    state.close()


@pytest.mark.parametrize("cut", [10, 200, -3])
def test_a_backup_cut_short_is_refused_and_nothing_restored(tmp_path: Path, cut: int) -> None:
    """Wherever it ends too early, it is refused before anything is written."""
    state = filled(tmp_path / "one", 5_000)
    back_up(state, KEY, tmp_path / "backup", 1)
    state.close()
    whole = (tmp_path / "backup").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:cut])
    with pytest.raises(RefusedError):
        restore(tmp_path / "cut", tmp_path / "two", 1)
    assert not (tmp_path / "two").exists()


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    """One flipped bit in the middle is a damaged backup."""
    state = filled(tmp_path / "one", 5_000)
    back_up(state, KEY, tmp_path / "backup", 1)
    state.close()
    content = bytearray((tmp_path / "backup").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "backup").write_bytes(content)
    with pytest.raises(RefusedError, match="damaged"):
        restore(tmp_path / "backup", tmp_path / "two", 1)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """Neither a backup nor a folder that holds something."""
    state = filled(tmp_path / "one", 10)
    back_up(state, KEY, tmp_path / "backup", 1)
    with pytest.raises(RefusedError, match="exists"):
        back_up(state, KEY, tmp_path / "backup", 1)
    state.close()
    with pytest.raises(RefusedError, match="not empty"):
        restore(tmp_path / "backup", tmp_path / "one", 1)
