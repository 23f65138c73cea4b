"""Previews against real runs of the new configuration: the promises V1 to V3, and what is shown of differences."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.flow import CompiledFlow, MappedSegment, Snapshot
from headrace.core.model import Delete
from headrace.runtimes.embedded.above import Above
from headrace.runtimes.embedded.preview import EXAMPLES, FlowPreview, Inputs, Preview, preview
from headrace.runtimes.embedded.recent import Recent
from headrace.sources.base import Batch
from headrace.state import records
from headrace.state.base import State
from headrace.state.erasing import erase_journal
from headrace.state.memory import MemoryState
from tests.e2e.updates import PLANS, updates
from tests.runtimes.road import KEY, KEYS, Lines, MemoryDisk, Road, RocksDisk, flow, members, snapshot, update
from tests.runtimes.test_explain import planned

OLD = snapshot(*(planned(flow_id, plan) for flow_id, plan in PLANS.items()))
FIRST, SECOND = OLD.flows


def changed(of: CompiledFlow, **fields: Any) -> CompiledFlow:
    return flow(of.id, **{"segments": of.segments, "paths": of.paths, "metadata": True} | fields)


CHANGED: dict[str, Snapshot] = {
    "the same": OLD,
    "another path": snapshot(changed(FIRST, paths=("web.n", "tags")), SECOND),
    "another audience": snapshot(changed(FIRST, segments={"ups": {"aud-3": MappedSegment()}}), SECOND),
    "fewer triggers": snapshot(FIRST, changed(SECOND, trigger_attribute=False, trigger_identity=False)),
    "only joined and left": snapshot(changed(FIRST, deliver="joinedLeft", status_model="seed"), SECOND),
    "a flow more, a flow less": snapshot(FIRST, changed(SECOND, trigger_attribute=True), flow("third")),
    "without metadata": snapshot(changed(FIRST, metadata=False)),
    "another partition key": snapshot(
        changed(FIRST, partition_key=flow().partition_key.__class__("identity", "email"))
    ),
}


def inputs(lines: Sequence[bytes], now_ms: int, size: int = 100) -> list[Inputs]:
    return [
        Inputs(now_ms, [Batch("lines", lines[at : at + size], str, None, lambda _: None)])
        for at in range(0, len(lines), size)
    ]


def previewed(new: Snapshot, given: Sequence[Inputs], base: State | None, old: Snapshot = OLD) -> Preview:
    stored = base.get_many([KEYS.cursor])[0] if base is not None else None
    first = records.decode_cursor(stored).ordinal if stored else 1
    return preview(new, old, given, Above(base), KEYS, installation_key=KEY, first=first, rate=1000.0)


def ran(configuration: Snapshot, *parts: Sequence[bytes], before: Snapshot | None = None) -> Road:
    """A real run; all parts but the last one under *before*."""
    road = Road(MemoryDisk(), Lines([]), before or configuration)
    for part in parts:
        if part is parts[-1]:
            road.configuration = configuration
        road.source.bodies += part
        assert road.run().drained
    return road


def held_to(found: Preview, road: Road, since: dict[str, tuple[int, int]] | None = None) -> None:
    """Counts, bytes and reasons of the new side are those of the run, and the parts add up."""
    for each in found.flows:
        assert each.added + each.altered + each.same == (each.new.messages if each.new else 0)
        assert each.removed + each.altered + each.same == (each.old.messages if each.old else 0)
        if each.new is None:
            continue
        totals = road.engine.totals.flows[each.id]
        messages, size = (since or {}).get(each.id, (0, 0))
        assert each.new.messages == totals.exported - messages, each.id
        assert each.new.bytes == totals.bytes - size, each.id
        if since is None:
            assert each.new.held == totals.held


def totals(road: Road) -> dict[str, tuple[int, int]]:
    return {flow_id: (t.exported, t.bytes) for flow_id, t in road.engine.totals.flows.items()}


def by_id(found: Preview) -> dict[str, FlowPreview]:
    return {each.id: each for each in found.flows}


@pytest.mark.parametrize("what", CHANGED)
def test_v1_v2_from_nothing_as_a_real_run(what: str) -> None:
    """Messages, bytes and reasons of every flow, for each kind of change."""
    lines = list(updates(21, 800, 60))
    found = previewed(CHANGED[what], inputs(lines, 1_700_000_000_000), None)
    held_to(found, ran(CHANGED[what], lines))
    assert found.inputs == 800
    differ = sum(each.added + each.removed + each.altered for each in found.flows)
    assert (differ == 0) == (what == "the same")


@pytest.mark.parametrize("what", CHANGED)
def test_v1_v3_onto_stored_profiles_as_a_real_run(what: str) -> None:
    """The profiles of a former run are begun with, and the state is what it was."""
    lines = list(updates(22, 900, 60))
    road = ran(OLD, lines[:500])
    state = road.disk.open()
    assert isinstance(state, MemoryState)
    before, kept = dict(state._values), totals(road)
    found = previewed(CHANGED[what], inputs(lines[500:], road.clock.now_ms()), state)
    assert state._values == before
    held_to(found, ran(CHANGED[what], lines[:500], lines[500:], before=OLD), kept)


@pytest.mark.parametrize("what", CHANGED)
def test_v1_on_the_end_of_the_journal_as_a_real_run(what: str) -> None:
    """The last inputs, from the profiles as they were before; whatever came in first."""
    lines = list(updates(23, 900, 60))
    road = ran(OLD, lines[:500], lines[500:])
    recent = Recent(road.disk.open(), KEYS, 400)
    found = preview(CHANGED[what], OLD, recent.inputs(), recent.base, KEYS, installation_key=KEY)
    assert (recent.untold, found.inputs, recent.config) == (0, 400, OLD.version)
    kept = totals(ran(OLD, lines[:500]))
    held_to(found, ran(CHANGED[what], lines[:500], lines[500:], before=OLD), kept)
    assert found.until_ms >= found.from_ms > 0


@given(st.integers(0, 1 << 30), st.integers(1, 300), st.integers(2, 40), st.sampled_from(sorted(CHANGED)))
def test_v1_whatever_the_updates(seed: int, count: int, people: int, what: str) -> None:
    """Any split between what is stored, what the journal tells and what comes."""
    lines = list(updates(seed, count, people))
    rng = random.Random(seed)
    cut = rng.randrange(count)
    road = ran(OLD, lines[:cut], lines[cut:])
    recent = Recent(road.disk.open(), KEYS, count - cut)
    found = preview(CHANGED[what], OLD, recent.inputs(), recent.base, KEYS, installation_key=KEY)
    assert recent.untold == 0
    held_to(found, ran(CHANGED[what], lines[:cut], lines[cut:], before=OLD), totals(ran(OLD, lines[:cut])))


def test_repeats_and_refused_updates_are_as_in_the_run() -> None:
    """An id seen again makes nothing; what is refused is counted by reason, and moves no other input."""
    lines = [update(1, "email:a", vip=True, update_id="x"), b"{", update(2, "email:a", update_id="x")]
    lines.append(update(3, "email:a"))
    new = snapshot(flow(paths=("n", "m")))
    road = ran(new, lines)
    found = previewed(new, inputs(lines, road.clock.now_ms()), None, snapshot())
    assert found.refused == {"not-json": 1}
    recent = Recent(ran(snapshot(), lines).disk.open(), KEYS, 10)
    again = preview(new, snapshot(), recent.inputs(), recent.base, KEYS, installation_key=KEY)
    assert (again.inputs, by_id(again)["f"].same) == (3, 2)


def test_a_deletion_in_the_journal_is_folded() -> None:
    """The profile is gone for what comes after."""
    road = Road(MemoryDisk(), Lines(members(4, 2)))
    road.run()
    profile_id = road.stream().accepted[0].key

    async def use(engine: Any) -> None:
        engine.submit(Delete(profile_id))
        await engine.run(until_drained=True)

    road.life(use)
    made = road.engine.totals.flows["f"].exported
    road.source.bodies += members(4, 2, first=4)
    road.run()
    recent = Recent(road.disk.open(), KEYS, 5)
    found = preview(snapshot(), snapshot(flow("g")), recent.inputs(), recent.base, KEYS, installation_key=KEY)
    assert (found.inputs, recent.untold) == (5, 0)
    after = by_id(found)["f"].new
    assert after is not None
    assert after.messages == road.engine.totals.flows["f"].exported - made == 4
    assert {record.data for record in road.stream().accepted[-4:]} >= {
        (example.new or "").encode() for example in by_id(found)["f"].examples
    }


def test_what_the_journal_does_not_tell_is_left_out_and_counted() -> None:
    """Without the beginning of the journal, profiles that are not journaled whole are unknown."""
    road = Road(MemoryDisk(), Lines(members(20, 2)), batch_updates=5)
    road.source._sizes = lambda: 5
    road.run()
    state = road.disk.open()
    start, _ = KEYS.space(b"J")
    first = next(iter(state.scan(*KEYS.space(b"J"))))[0]
    assert first.startswith(start)
    write = state.batch()
    write.delete(first)
    state.commit(write)
    recent = Recent(state, KEYS, 15)
    found = preview(snapshot(), snapshot(), recent.inputs(), recent.base, KEYS, installation_key=KEY)
    assert (recent.untold, found.inputs) == (15, 0)


def test_what_was_erased_is_left_out_and_counted() -> None:
    """Inputs about somebody who was deleted are unreadable; those about others are folded as they were."""
    road = Road(MemoryDisk(), Lines(members(20, 2), sizes=lambda: 5))
    road.run()
    state = road.disk.open()
    gone = road.stream().accepted[0].key
    write = state.batch()
    for key, value in state.scan(*KEYS.space(b"J")):
        block = records.journal_block(value)
        places = [n for n in range(block.rows) if records.unpack_id(block.profiles, n) == gone]
        write.put(key, erase_journal(value, places)[0])
    state.commit(write)
    recent = Recent(state, KEYS, 12)
    found = preview(snapshot(), snapshot(), recent.inputs(), recent.base, KEYS, installation_key=KEY)
    assert (recent.untold, found.inputs, by_id(found)["f"].same) == (6, 6, 6)


def test_differences_are_shown_with_paths_and_values() -> None:
    """Altered ones name what differs, the partition key too; added and removed ones show the message."""
    old = snapshot(flow(), flow("gone"))
    new = snapshot(
        flow(paths=("n", "m"), partition_key=flow().partition_key.__class__("identity", "email")), flow("new")
    )
    lines = [update(n, f"email:u{n}", vip=True, m={"x": [n]}) for n in range(EXAMPLES + 2)]
    found = by_id(previewed(new, inputs(lines, 0), None, old))
    first = found["f"].examples[0]
    assert (first.what, first.input, found["f"].altered) == ("altered", 1, 5)
    assert first.differences == [f"(partition key): {first.profile} → u0", 'm: (none) → {"x":[0]}']
    assert len(found["f"].examples) == len(found["new"].examples) == EXAMPLES
    assert (found["new"].old, found["gone"].new) == (None, None)
    assert msgspec.json.decode(found["new"].examples[0].new or "")["n"] == 0
    assert (found["gone"].removed, found["gone"].examples[0].new) == (5, None)


def test_how_a_message_was_made_is_no_difference() -> None:
    """The block ``_headrace`` names the configuration's version, which always differs."""
    old, new = snapshot(flow(metadata=True)), snapshot(flow(metadata=True), flow("g"))
    assert old.version != new.version
    assert by_id(previewed(new, inputs(members(9, 3), 0), None, old))["f"].same == 9


def test_shards_follow_from_the_busiest_minute_or_from_a_rate() -> None:
    """1,000 records or 1 MiB a second each; none for a flow without messages."""
    lines = members(200, 200)
    found = preview(
        snapshot(), snapshot(), inputs(lines, 0), Above(None), KEYS, installation_key=KEY, rate=2_500.0
    )  # fmt: skip
    side = by_id(found)["f"].new
    assert side is not None
    assert side.shards == 3
    minute = [*inputs(lines, 60_000), *inputs(lines, 61_000)]
    found = preview(snapshot(), snapshot(), minute, Above(None), KEYS, installation_key=KEY)
    side = by_id(found)["f"].new
    assert side is not None
    assert (side.messages, side.shards) == (400, 1)
    big = [update(n, f"email:u{n}", vip=True, m="x" * 700_000) for n in range(5)]
    found = previewed(snapshot(flow(paths=("m",))), inputs(big, 0), None)
    side = by_id(found)["f"].new
    assert side is not None
    assert side.shards == 668
    assert previewed(snapshot(), [], None).flows[0].new is not None


@pytest.mark.slow
def test_v1_on_rocksdb_with_many_pages(tmp_path: Any) -> None:
    """The journal of several lives, in pages, is read as the one in memory."""
    lines = list(updates(24, 3000, 200))
    road = Road(RocksDisk(tmp_path), Lines(lines), OLD, page_rows=300)
    assert road.run().drained
    new = CHANGED["another path"]
    recent = Recent(road.disk.open(), KEYS, 1700)
    found = preview(new, OLD, recent.inputs(), recent.base, KEYS, installation_key=KEY)
    road.disk.close()
    assert (recent.untold, found.inputs) == (0, 1700)
    kept = totals(ran(OLD, lines[: found_first(lines, 1700)]))
    held_to(found, ran(new, lines[: found_first(lines, 1700)], lines[found_first(lines, 1700) :], before=OLD), kept)


def found_first(lines: Sequence[bytes], most: int) -> int:
    """Where the last inputs begin: none of these is refused."""
    return len(lines) - most
