"""A folder that was restored goes on apart from the one that was lost: no id and no place is used twice."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.consumer import Deduplicator
from headrace.core.envelope import Envelope, decode, encode
from headrace.core.glance import with_epoch
from headrace.core.model import FORMAT, FlowMark, Membership
from headrace.runtimes.embedded import explain
from headrace.runtimes.embedded.refold import refold
from headrace.state.backup import back_up, restore
from headrace.state.keys import IDENTITY, PROFILE
from headrace.state.records import decode_index_row
from headrace.state.rocksdb import RocksState
from tests.runtimes.road import KEY, KEYS, Lines, Road, RocksDisk, flow, snapshot, update

PEOPLE = 12
NOW_MS = 1_800_000_000_000


def about(numbers: range, name: str) -> list[bytes]:
    """Updates about a few people that are never the same twice."""
    return [update(n, f"email:u{n % PEOPLE}", vip=True, name=name) for n in numbers]


def road(folder: Path, lines: list[bytes]) -> Road:
    """A road whose messages have their metadata, on a folder."""
    return Road(RocksDisk(folder), Lines(lines), snapshot(flow(metadata=True, paths=("n", "name"))))


def envelopes(state: RocksState) -> list[Envelope]:
    """All profiles."""
    return [decode(value) for _, value in state.scan(*KEYS.space(PROFILE))]


@pytest.fixture
def lost(tmp_path: Path) -> Road:
    """A folder, backed up after 60 updates, that went on for 60 more and was lost; the backup is ``backup``."""
    before, more = about(range(60), "before"), about(range(60, 120), "lost")
    first = road(tmp_path / "lost", before)
    first.run()
    state = first.disk.open()
    assert isinstance(state, RocksState)
    back_up(state, KEY, tmp_path / "backup", 1)
    first.source.bodies += more
    first.run()
    first.disk.close()
    return first


def test_what_follows_shares_no_id_and_no_place_with_what_was_lost(lost: Road, tmp_path: Path) -> None:
    """Other updates about the same people and new ones: a consumer that saw all of both drops none of it."""
    restore(tmp_path / "backup", tmp_path / "new", NOW_MS)
    others = [*about(range(60, 120), "other"), update(500, "email:new", vip=True)]
    again = road(tmp_path / "new", [*about(range(60), "before"), *others])
    again.run()
    seen = Deduplicator()
    old = [record.data for record in lost.stream().accepted]
    new = [record.data for record in again.stream().accepted]
    assert len(old) == 120
    assert len(new) == 61, "what was settled before the backup was sent again"
    for data in old:
        seen.keep(seen.look(data))
    for data in new:
        taken = seen.look(data)
        assert not taken.is_repeat
        assert not taken.is_late
        seen.keep(taken)
    places = [(m.profile_id, m.epoch, m.seq) for m in (seen.look(data).metadata for data in [*old, *new])]
    assert len(set(places)) == len(places)


def test_e1_every_epoch_is_larger_than_any_before_and_smaller_than_any_after(lost: Road, tmp_path: Path) -> None:
    """Whatever the lost folder gave; and a second restore of the same backup is apart from the first."""
    given_before = {profile.epoch for profile in envelopes(RocksState(tmp_path / "lost"))}
    last = 0
    for number, now_ms in enumerate((NOW_MS, NOW_MS + 1)):
        folder = tmp_path / f"new-{number}"
        restore(tmp_path / "backup", folder, now_ms)
        again = road(folder, [*about(range(60), "before"), update(900, "email:new", vip=True)])
        state = again.disk.open()
        assert isinstance(state, RocksState)
        restored = {profile.epoch for profile in envelopes(state)}
        again.run()
        created = {profile.epoch for profile in envelopes(state)} - restored
        again.disk.close()
        assert len(created) == 1
        assert max(max(given_before), last) < min(restored) < max(restored) < min(created) < 1 << 53
        last = max(created)


def test_e2_e3_order_and_index_are_kept_and_nothing_else_changes(tmp_path: Path) -> None:
    """Profiles in their order, each identity with its profile's epoch, every other entry as it was backed up."""
    first = road(tmp_path / "copy", about(range(60), "before"))
    first.run()
    state = first.disk.open()
    assert isinstance(state, RocksState)
    back_up(state, KEY, tmp_path / "backup", 1)
    restore(tmp_path / "backup", tmp_path / "new", NOW_MS)
    new = RocksState(tmp_path / "new")
    old_order = [p.profile_id for p in sorted(envelopes(state), key=lambda p: p.epoch)]
    found = sorted(envelopes(new), key=lambda p: p.epoch)
    assert [profile.profile_id for profile in found] == old_order
    epochs = {profile.profile_id: profile.epoch for profile in found}
    rows = [decode_index_row(value) for _, value in new.scan(*KEYS.space(IDENTITY))]
    assert len(rows) == PEOPLE
    assert all(epochs[row.profile_id] == row.epoch for row in rows)
    changed = {KEYS.cursor, KEYS.restored} | {
        key for space in (PROFILE, IDENTITY) for key, _ in new.scan(*KEYS.space(space))
    }
    was = {key: value for key, value in state.scan(b"", b"\xff") if key not in changed}
    now = dict(new.scan(b"", b"\xff"))
    assert {key: now.get(key) for key in was} == was
    # Beside them, the page of the journal that was open is ended.
    assert {key[:6] for key in now.keys() - was.keys() - changed} == {b"prod\0G"}
    new.close()
    first.disk.close()


def test_the_past_is_told_and_the_journal_folds_again(lost: Road, tmp_path: Path) -> None:
    """Exports of before and after are explained, and the journal since the restore folds to what is stored."""
    restore(tmp_path / "backup", tmp_path / "new", NOW_MS)
    fresh = RocksState(tmp_path / "new")
    assert refold(fresh, KEYS, KEY).same
    fresh.close()
    again = road(tmp_path / "new", [*about(range(60), "before"), *about(range(60, 120), "other")])
    again.run()
    state = again.disk.open()
    assert isinstance(state, RocksState)
    found = refold(state, KEYS, KEY)
    assert found.same, found
    assert found.inputs == 60
    assert found.older == PEOPLE
    ids = [
        msgspec.json.decode(record.data)["_headrace"]["exportId"]
        for record in (*lost.stream().accepted[:60], *again.stream().accepted)
    ]
    assert len(ids) == 120
    bodies = [*about(range(60), "before"), *about(range(60, 120), "other")]
    explainer = explain.Explainer(state, KEYS)
    for export_id, body in zip(ids, bodies, strict=True):
        told = explainer.explain(explain.Question(export_id=export_id))
        assert told.input is not None
        assert told.input.content == body.decode()
        assert told.unknown == []
    again.disk.close()


@given(st.integers(0, 1 << 62), st.integers(0, 1 << 62))
def test_with_epoch_changes_the_epoch_alone(old: int, new: int) -> None:
    """The same bytes as if the profile had been written so."""
    marks = {"f": FlowMark(3, 7, 1, [(1, 2)], ["x"])}
    members = {"ups": {"vip": Membership(True, "2026-01-01T00:00:00Z")}}
    envelope = Envelope(
        FORMAT, "p" * 32, old, 5, {"email": ["a"]}, {"n": [1, {"x": None}]}, {"n": 9}, members, marks, 8
    )
    stored = with_epoch(encode(envelope), new)
    envelope.epoch = new
    assert stored == encode(envelope)
    assert (decode(stored).epoch, encode(decode(stored))) == (new, stored)
