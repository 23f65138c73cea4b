"""Whom the folder heard of lately, and the last inputs about one profile, with how much is read for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from headrace.core.flow import MappedSegment
from headrace.core.model import Delete
from headrace.errors import RefusedError
from headrace.runtimes.embedded import lately
from headrace.runtimes.embedded.lately import last_inputs, namespaces, people
from headrace.runtimes.embedded.past import Past
from headrace.state.keys import JOURNAL, LEDGER
from headrace.state.memory import MemoryState
from headrace.state.pages import Reader
from headrace.state.rows import JournalRows
from tests.e2e.updates import PLANS, updates
from tests.runtimes.road import KEYS, Lines, MemoryDisk, Road, flow, members, snapshot, update
from tests.runtimes.test_explain import Small, planned
from tests.runtimes.told import Told, told

COUNT = 900


class Lived(NamedTuple):
    """A run that is over: what each input should have come to, and the profile that each made or changed."""

    state: MemoryState
    told: list[Told]


@pytest.fixture(scope="module")
def lived() -> Lived:
    """900 updates with merges, in several pages and a tail that no page covers."""
    lines = list(updates(7, COUNT, 90))
    disk = MemoryDisk()
    road = Road(
        disk, Lines(lines, sizes=lambda: 25), snapshot(*(planned(f, plan) for f, plan in PLANS.items())),
        page_rows=200,
    )  # fmt: skip
    assert road.run().drained
    return Lived(disk.state, told(lines, PLANS))


def test_the_inputs_about_a_person_are_those_under_every_id_they_had(lived: Lived) -> None:
    """Of every profile that is left, all of them, the newest first, with what was decided flow by flow."""
    past = Past(lived.state, KEYS)
    family: dict[int, set[int]] = {}
    ordinals: dict[int, list[int]] = {}
    for ordinal, one in enumerate(lived.told, 1):
        family.setdefault(one.born, {one.born}).update(*(family.pop(born) for born in one.absorbed))
        ordinals.setdefault(one.born, []).append(ordinal)
    merged = 0
    for born, all_of_it in family.items():
        expected = sorted((n for each in all_of_it for n in ordinals[each]), reverse=True)
        line = past.line(ordinals[born][-1])
        assert line is not None
        found = last_inputs(lived.state, KEYS, {"profile_id": line.profile_id, "most": 100})
        assert [each.ordinal for each in found] == expected[:100]
        few = last_inputs(lived.state, KEYS, {"profile_id": line.profile_id, "most": 3})
        assert [each.ordinal for each in few] == expected[:3]
        for each in found:
            reasons = lived.told[each.ordinal - 1].reasons
            assert each.exported == [flow.title() for flow in PLANS if not reasons[flow]]
            assert each.sent == len(each.exported)
            assert each.not_sent == [flow.title() for flow in PLANS if reasons[flow]]
            assert each.held == Counter(filter(None, reasons.values()))
        merged += len(all_of_it) > 1
    assert merged > 5


def test_few_blocks_are_opened_and_no_page_before_the_person_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a thousand blocks those that hold the person's inputs and those behind the last page, no other one."""
    disk = MemoryDisk()
    bodies = [*members(1000, 1000), update(5000, "email:late", vip=True), update(5001, "email:late", vip=True)]
    bodies += members(1000, 1000, first=1000)
    road = Road(disk, Lines(bodies, sizes=lambda: 2), page_rows=100)
    assert road.run().drained
    opened: list[int] = []
    scanned: list[bytes] = []
    whole, back = Reader.journal, MemoryState.scan_back

    def journal(self: Reader, first: int, stored: bytes) -> JournalRows:
        opened.append(first)
        return whole(self, first, stored)

    def scan_back(self: MemoryState, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key, value in back(self, start, end):
            scanned.append(key)
            yield key, value

    profile_id = Past(disk.state, KEYS).line(1001)
    assert profile_id is not None
    tail = sum(1 for _ in Reader(disk.state, KEYS, JOURNAL).stored(Past(disk.state, KEYS)._pages.tail(), 1 << 60))
    monkeypatch.setattr(Reader, "journal", journal)
    monkeypatch.setattr(MemoryState, "scan_back", scan_back)
    found = last_inputs(disk.state, KEYS, {"profile_id": profile_id.profile_id, "most": 20})
    assert [each.ordinal for each in found] == [1002, 1001]
    assert len(set(opened)) <= tail + 2
    # Pages of marks, and where each block begins: none of those that were full before the person came.
    assert len(scanned) < 11 + 2 * (tail + 4)


def test_an_input_tells_what_it_stated_and_no_value() -> None:
    """Names of attributes and audiences; kind, source and time; the flow by its name."""
    small = Small(update(1, "email:ada@example.com", vip=True, secret="4711")).run()
    small.more(update(2, "email:ada@example.com", secret="0815"))
    profile_id = small.explain(ordinal=1).profile.id
    second, first = last_inputs(small.disk.state, KEYS, {"profile_id": profile_id})
    assert (first.ordinal, first.kind, first.source, first.profile_id) == (1, "update", "lines", profile_id)
    assert (first.attributes, first.memberships) == (["n", "secret"], ["ups/vip"])
    assert (first.sent, first.exported, first.held, first.not_sent) == (1, ["f"], {}, [])
    assert second.memberships == []
    assert second.at_ms >= first.at_ms > 0
    assert "4711" not in str(first)


def test_of_many_flows_an_input_tells_numbers() -> None:
    """Only the first of those that something was exported to are named."""
    many = [flow("f"), *(flow(f"f{number}", name="" if number else "F") for number in range(8))]
    few = [flow(f"o{number}", segments={"ups": {"other": MappedSegment()}}) for number in range(3)]
    small = Small(update(1, "email:ada@example.com", vip=True), configuration=snapshot(*many, *few)).run()
    (one,) = last_inputs(small.disk.state, KEYS, {"profile_id": small.explain(ordinal=1).profile.id})
    assert (one.sent, one.exported) == (9, ["f", "F", "f1", "f2", "f3", "f4"])
    assert (one.held, one.not_sent) == ({"not-a-member": 3}, [])


def test_a_deleted_person_has_no_inputs_and_is_not_among_those_seen() -> None:
    """Nor is one that another profile absorbed; what is no id at all matches no row."""
    small = Small(update(1, "email:a", vip=True), update(2, "ecid:9", vip=True)).run()
    small.more(update(3, "email:a", "ecid:9"), update(4, "email:b", vip=True))
    survivor, other = small.explain(ordinal=3).profile.id, small.explain(ordinal=4).profile.id
    assert {each.profile_id for each in _seen(small)} == {survivor, other}

    async def use(engine: object) -> None:
        small.road.engine.submit(Delete(other))
        await small.road.engine.run(until_drained=True)

    small.road.life(use)
    assert [each.profile_id for each in _seen(small)] == [survivor]
    for nobody in ("email:a", "zz", "A" * 32, "0" * 32):
        assert last_inputs(small.disk.state, KEYS, {"profile_id": nobody}) == []
    with pytest.raises(RefusedError, match="name a profile"):
        last_inputs(small.disk.state, KEYS, {})


def _seen(small: Small, **wanted: Any) -> list[lately.ProfileSeen]:
    return people(small.disk.state, KEYS, wanted).profiles


def test_people_are_those_of_the_last_exports_and_then_of_the_last_inputs() -> None:
    """The newest first, each once, with the first identity of each namespace; as many as are asked for."""
    small = Small(
        update(1, "email:sent", "ecid:1", vip=True), update(2, "email:also-sent", vip=True),
        update(3, "email:quiet"), update(4, "email:quieter"), update(5, "email:sent", n2=1),
    ).run()  # fmt: skip
    found = _seen(small)
    assert [(each.sent, {i["id"] for i in each.identities}) for each in found] == [
        (True, {"sent", "1"}), (True, {"also-sent"}), (False, {"quieter"}), (False, {"quiet"}),
    ]  # fmt: skip
    assert {i["namespace"] for i in found[0].identities} == {"email", "ecid"}
    assert [each.profile_id for each in _seen(small, most=3)] == [each.profile_id for each in found[:3]]
    assert _seen(small, most=0) == []
    small.forget(LEDGER)
    assert [each.sent for each in _seen(small)] == [False] * 4


def test_namespaces_are_found_without_walking_over_identities(monkeypatch: pytest.MonkeyPatch) -> None:
    """One read for each and one for the end; names that begin alike are told apart."""
    disk = MemoryDisk()
    bodies = [*members(400, 400), *(update(n, f"email_lc:{n}", f"ecid:{n}", f"crmid:{n}") for n in range(100))]
    assert Road(disk, Lines(bodies)).run().drained
    reads: list[bytes] = []
    scan = MemoryState.scan

    def counted(self: MemoryState, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key, value in scan(self, start, end):
            reads.append(key)
            yield key, value

    monkeypatch.setattr(MemoryState, "scan", counted)
    assert namespaces(disk.state, KEYS) == ["crmid", "ecid", "email", "email_lc"]
    assert len(reads) == 4
    assert namespaces(disk.state, KEYS, most=2) == ["crmid", "ecid"]
    assert namespaces(MemoryState(), KEYS) == []
