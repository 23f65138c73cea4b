"""Deleting a person: L1 and L2 of ``runtimes.embedded.deletions``; a walk over everything that is stored."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import rocksdict
import zstandard

from headrace import logs
from headrace.core.flow import Consent
from headrace.core.link import name
from headrace.core.model import Identity
from headrace.destinations.base import Limits, Verdict
from headrace.destinations.memory import Rule
from headrace.errors import RefusedError
from headrace.runtimes.embedded import erasure
from headrace.runtimes.embedded.engine import Engine
from headrace.runtimes.embedded.explain import Explainer, Question
from headrace.state import records, rocksdb
from headrace.state.keys import DISCARD, JOURNAL, LEDGER
from headrace.state.pages import PROFILE_ID, Pages, id_mark
from tests.runtimes.living import asked, live, more, moves_on, passes, quiet, same
from tests.runtimes.road import (
    KEY,
    KEYS,
    Disk,
    MemoryDisk,
    PowerCut,
    Road,
    RocksDisk,
    flow,
    members,
    refuse,
    snapshot,
    update,
)

_ZSTD = b"\x28\xb5\x2f\xfd"
_OPTIONS = rocksdb._options
PLANTED = "planted.person.8731@example.test"
DEVICE = "device-9d1c-planted"
MESSAGES = snapshot(
    flow("f", metadata=True, on_delete="exit"), flow("g", metadata=True), flow("h", consent=Consent(("ok",), ("y",)))
)


def forms(values: list[str]) -> list[bytes]:
    """A value raw, as base64, and hashed, as text and as bytes."""
    found: list[bytes] = []
    for value in values:
        raw = value.encode()
        found += [raw, base64.b64encode(raw), base64.urlsafe_b64encode(raw).rstrip(b"=")]
        for kind in ("md5", "sha1", "sha256"):
            digest = hashlib.new(kind, raw)
            found += [digest.digest(), digest.hexdigest().encode(), base64.b64encode(digest.digest())]
    return found


def ids(identities: list[str]) -> list[bytes]:
    """Profile ids that they name, as text and as bytes."""
    named = [name(KEY, Identity(*one.split(":", 1))) for one in identities]
    return [form for one in named for form in (one.encode(), bytes.fromhex(one))]


def spaces(road: Road, needles: list[bytes]) -> set[str]:
    """Letters of the key spaces in which one of them is found, blocks decompressed."""
    found: set[str] = set()
    for key, value in road.disk.open().scan(KEYS.prefix, KEYS.prefix + b"\xff"):
        letter = key[len(KEYS.prefix) : len(KEYS.prefix) + 1]
        if letter in (JOURNAL, LEDGER):
            value = zstandard.ZstdDecompressor().decompress(value[13:])
        if any(needle in key or needle in value for needle in needles):
            found.add(letter.decode())
    return found


def story() -> list[bytes]:
    """A person under two profiles that are joined, among others; a refused update that names the person too."""
    bodies = members(40, 10)
    bodies[5:5] = [update(500, f"email:{PLANTED}", vip=True, ok="y"), update(501, f"ecid:{DEVICE}", vip=True, ok="y")]
    bodies[20:20] = [
        update(502, f"ecid:{DEVICE}", f"email:{PLANTED}", note=PLANTED, ok="y"),
        f'{{"identityMap":{{"email":[{{"id":"{PLANTED}"}}]}},"segmentMembership":7}}'.encode(),
        update(503, f"email:{PLANTED}", f"email:{PLANTED}", vip=True, ok="y"),
    ]
    return bodies


def delete(engine: Engine) -> Any:
    return asked("profile-delete", namespace="Email", id=PLANTED)(engine)


NEEDLES = [*forms([PLANTED, DEVICE]), *ids([f"email:{PLANTED}", f"ecid:{DEVICE}"])]


def done(road: Road) -> dict[str, Any]:
    """The report of the only deletion, once the folder is compacted."""

    async def compacted(engine: Engine) -> Any:
        while asked("profile-deletions")(engine)[0]["state"] == "compacting":
            await moves_on(road, 0.5)
        return asked("profile-deletions")(engine)[0]

    (report,) = live(road, compacted)
    return dict(report)


@pytest.mark.parametrize("page_rows", [7, 16_384])
def test_l2_nothing_is_left_in_any_key_space(disk: Disk, page_rows: int) -> None:
    """Planted in profile, index, journal, ledger, dead letters, timers and a run; found before, and not after."""
    road = quiet(disk, story(), MESSAGES, page_rows=page_rows)
    refuse(road, Rule(Verdict.REJECTED, nth=8, times=2), flow_id="g")
    live(road, asked("backfill-start", flow="f", identities=[f"email:{PLANTED}"]))
    before = spaces(road, NEEDLES)
    assert {"P", "I", "J", "L", "D", "B"} <= before, "the positive control finds less than was planted"
    live(road, delete, passes(road, 5), more(road, members(20, 10, first=100)))
    report = done(road)
    assert report["state"] == "done"
    assert report["erased"]["inputs"] >= 4
    assert report["erased"]["ledger"] >= 3
    assert report["erased"]["dead_letters"] >= 1
    assert spaces(road, NEEDLES) == set()
    exits = [data for data in road.arrived("f") if PLANTED.encode() in data][-1]
    assert msgspec.json.decode(exits)["_headrace"]["exportId"] == report["exports"]["f"]
    assert b'"exited"' in exits
    assert list(report["exports"]) == ["f"]
    same(road)
    assert road.judged is not None
    with pytest.raises(RefusedError, match="no profile"):
        live(road, delete)


def test_l2_no_page_leads_to_what_was_erased(disk: Disk) -> None:
    """Of several blocks that are rewritten in one commit, each takes its rows' marks out of the page they share."""
    road = quiet(disk, story(), MESSAGES, page_rows=25)
    marks = {id_mark(name(KEY, Identity(*one.split(":", 1)))) for one in (f"email:{PLANTED}", f"ecid:{DEVICE}")}
    live(road)
    tails = {space: Pages(disk.open(), KEYS, space).tail() for space in (JOURNAL, LEDGER)}

    def led() -> list[int]:
        return [
            len([row for mark in marks for row in pages.candidates(PROFILE_ID, mark, last=tail - 1)])
            for pages, tail in ((Pages(disk.open(), KEYS, space), tail) for space, tail in tails.items())
        ]

    assert min(led()) >= 3
    live(road, delete, passes(road, 5))
    assert done(road)["state"] == "done"
    assert led() == [0, 0]


def test_l2_nor_does_one_that_was_open_meanwhile(disk: Disk) -> None:
    """A page is written when it is full: what was erased of its blocks before that is erased of it too."""
    road = quiet(disk, story(), MESSAGES)
    marks = {id_mark(name(KEY, Identity(*one.split(":", 1)))) for one in (f"email:{PLANTED}", f"ecid:{DEVICE}")}
    pages = (Pages(disk.open(), KEYS, JOURNAL), Pages(disk.open(), KEYS, LEDGER))

    def seal(engine: Engine) -> list[int]:
        assert [page.tail() for page in pages] == [0, 0]
        batch = disk.open().batch()
        for roll in engine._rounds.rolls.values():
            roll.seal(batch)
        disk.open().commit(batch)
        assert min(page.tail() for page in pages) > 1
        return [len([row for mark in marks for row in page.candidates(PROFILE_ID, mark)]) for page in pages]

    assert live(road, delete, passes(road, 5), seal)[-1] == [0, 0]
    assert done(road)["state"] == "done"


def test_what_was_exported_about_the_person_can_still_be_explained(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the input's number, but for whom it was about; also where pages still lead to the person alone."""
    road = quiet(disk, story(), MESSAGES, page_rows=7)
    monkeypatch.setattr(erasure, "erase_marks", lambda *_: None)
    live(road)

    def states() -> dict[int, list[tuple[str, str, str]]]:
        explainer = Explainer(road.disk.open(), KEYS)
        told = {ordinal: explainer.explain(Question(ordinal=ordinal)).flows for ordinal in range(1, 43)}
        return {
            ordinal: [(facts.state, facts.export_id, facts.reason) for facts in flows]
            for ordinal, flows in told.items()
        }

    before = states()
    live(road, delete, passes(road, 5))
    assert done(road)["erased"]["ledger"] >= 3
    assert states() == before


def test_l2_what_was_not_to_be_sent_goes_with_it(disk: Disk) -> None:
    """That exports about the person were to be given up is forgotten before the folder is compacted, not after."""
    road = quiet(disk, [], MESSAGES)
    refuse(road, Rule(Verdict.RETRY, times=None))
    marks: list[int] = []

    def stored(_: Engine) -> None:
        marks.append(len(list(road.disk.open().scan(*KEYS.space(DISCARD)))))

    async def act(engine: Engine) -> None:
        road.source.bodies += [*members(20, 10), update(50, f"email:{PLANTED}", vip=True, ok="y")]
        await moves_on(road)
        delete(engine)
        await moves_on(road)
        stored(engine)
        road.stream().clear_rules()
        while asked("profile-deletions")(engine)[0]["state"] != "done":
            await moves_on(road, 0.5)
        stored(engine)

    live(road, act)
    assert marks == [3, 0], "one of each flow while the person's exports wait; none when it is done"
    assert road.engine.totals.flows["f"].discarded == {"profile-deleted": 1}


def _frames(content: bytes) -> Iterator[bytes]:
    """What the blocks of journal and ledger in a file hold, which are compressed before they are stored."""
    at = content.find(_ZSTD)
    while at >= 0:
        with contextlib.suppress(zstandard.ZstdError):
            yield zstandard.ZstdDecompressor().decompressobj().decompress(content[at:])
        at = content.find(_ZSTD, at + 1)


def leftovers(folder: Path) -> dict[str, set[bytes]]:
    """What of the person lies in each file of the folder, as it is there or within a block that is compressed."""
    found: dict[str, set[bytes]] = {}
    for path in (p for p in folder.rglob("*") if p.is_file()):
        content = path.read_bytes()
        whole = b"\n".join([content, *_frames(content)])
        if here := {needle for needle in NEEDLES if needle in whole}:
            found[path.name] = here
    return found


def _uncompressed(cache_bytes: int, memtable_bytes: int) -> rocksdict.Options:
    """As the state opens its database, but that tables lie on disk as they were written, to be searched."""
    options = _OPTIONS(cache_bytes, memtable_bytes)
    options.set_compression_per_level([rocksdict.DBCompressionType.none()] * 2)
    return options


@pytest.mark.parametrize("tables", [False, True], ids=["from the log", "from tables"])
def test_l2_the_files_of_the_folder_hold_nothing(
    tmp_path: Path, tables: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """After compaction: every file, as it lies on disk; nor what was logged. In any form, all found there before."""
    monkeypatch.setattr(rocksdb, "_options", _uncompressed)
    logs.configure("debug", "json")
    disk = RocksDisk(tmp_path)
    road = quiet(disk, story(), MESSAGES)
    refuse(road, Rule(Verdict.REJECTED, nth=8, times=2), flow_id="g")
    live(road)
    if tables:
        disk.open().compact()
        disk.close()  # and the next life reads them
    before = leftovers(tmp_path)
    raw_and_ids = {PLANTED.encode(), DEVICE.encode(), *ids([f"email:{PLANTED}", f"ecid:{DEVICE}"])[1::2]}
    assert raw_and_ids <= set().union(*before.values()), "the positive control finds less than was planted"
    assert any(name.endswith(".sst" if tables else ".log") for name in before)
    live(road, delete, passes(road, 5))
    assert done(road)["state"] == "done"
    held = leftovers(tmp_path)
    disk.close()
    assert held == {}, "while the process goes on"
    assert leftovers(tmp_path) == {}
    logs.get().warning("control", said=PLANTED)
    said = capfd.readouterr()
    *lines, control = (said.out + said.err).strip().encode().splitlines()
    assert [n for n in NEEDLES if n in control] == [PLANTED.encode()]
    assert [line for line in lines if any(n in line for n in NEEDLES)] == []


def test_others_are_explained_as_before(disk: Disk) -> None:
    """The journal's numbers stay; a row that was erased says so; the person may come back as somebody new."""
    from headrace.runtimes.embedded.explain import Explainer, Question

    road = quiet(disk, story(), MESSAGES)
    live(road, delete, passes(road, 5))
    explainer = Explainer(disk.open(), KEYS)
    kinds = [explainer.explain(Question(ordinal=ordinal)).input for ordinal in range(1, 20)]
    assert {facts.kind for facts in kinds if facts is not None} == {"update", "erased"}
    assert all(facts.content == "" for facts in kinds if facts is not None and facts.kind == "erased")
    road.source.bodies += [update(700, f"email:{PLANTED}", vip=True, ok="y")]
    live(road)
    assert spaces(road, NEEDLES) >= {"P", "I", "J"}
    assert b'"seq":1' in road.arrived("f")[-1]
    same(road)


def test_l1_cut_off_at_any_step() -> None:
    """Before and after each commit and sync of a deletion: one exit per flow, acknowledged, nothing after it."""
    cut, lives, asked_for = 1, 0, False
    road = quiet(MemoryDisk(), story(), MESSAGES, page_rows=7)
    road._limits = Limits(records=3)
    live(road)

    def begin(engine: Engine) -> None:
        nonlocal asked_for
        if not asked_for:
            with contextlib.suppress(RefusedError):  # it was durable before the cut
                delete(engine)
            asked_for = True

    while True:
        try:
            lives += 1
            live(road, begin, passes(road, 5), passes(road, 5), cut=cut)
        except PowerCut:
            cut += 1
            continue
        break
    assert lives > 8
    report = done(road)
    assert report["state"] == "done"
    assert spaces(road, NEEDLES) == set()
    found = [msgspec.json.decode(data) for data in dict.fromkeys(road.arrived("f")) if PLANTED.encode() in data]
    assert [m["_headrace"]["exportId"] for m in found if m["_headrace"]["cause"]["kind"] == "delete"] == [
        report["exports"]["f"]
    ]
    assert found[-1]["_headrace"]["exportId"] == report["exports"]["f"]
    same(road)


def test_a_deletion_waits_for_a_flow_that_is_paused(disk: Disk) -> None:
    """Its report says for which; when the flow goes on, it is carried through."""
    road = quiet(disk, story(), MESSAGES)
    live(road, asked("flow-pause", flow="f"), more(road, [update(600, f"email:{PLANTED}", vip=True, ok="y")]))
    (report, _, later) = live(road, delete, passes(road, 60), asked("profile-deletions"))
    assert report["state"] == "deleting"
    assert (later[0]["state"], later[0]["waits_for"]) == ("settling", ["f"])
    live(road, asked("flow-resume", flow="f"), passes(road, 5))
    assert done(road)["state"] == "done"
    assert spaces(road, NEEDLES) == set()
    assert road.engine.totals.flows["f"].discarded == {"profile-deleted": 1}


def test_a_profile_is_shown_with_all_that_is_held(disk: Disk) -> None:
    """By any identity, in any case of the namespace; the shape is the contract's."""
    road = quiet(disk, story(), MESSAGES)
    (profile, held, nobody) = live(
        road, asked("profile", namespace="EMAIL", id=PLANTED), asked("profile-held", namespace="ecid", id=DEVICE),
        asked("profile", namespace="email", id="nobody"),
    )  # fmt: skip
    assert nobody is None
    by_id, unknown = live(road, asked("profile", profile_id=profile["profileId"]), asked("profile", profile_id="0"))
    assert by_id == profile
    assert unknown is None
    assert {"namespace": "ecid", "id": DEVICE} in profile["identities"]
    assert profile["memberships"]["ups"]["vip"]["status"] == "realized"
    assert profile["attributes"]["note"] == PLANTED
    assert profile["flows"]["f"]["seq"] >= 1
    assert len(held["inputs"]) >= 3
    assert len(held["exports"]) >= 3
    assert len(held["dead_letters"]) == 1
    assert records.ERASED == 6
    with pytest.raises(RefusedError, match="name an identity"):
        live(road, asked("profile", namespace="email"))


def test_an_identity_is_taken_off(disk: Disk) -> None:
    """Flows are told as of any change of identities; an update about it makes a profile of its own afterwards."""
    road = quiet(disk, story(), MESSAGES)
    before = len(road.arrived("f"))
    (left,) = live(road, asked("profile-unlink", namespace="ECID", id=DEVICE))
    assert left["identities"] == [{"namespace": "email", "id": PLANTED}]
    told = msgspec.json.decode(road.arrived("f")[-1])
    assert len(road.arrived("f")) > before
    assert told["_headrace"]["cause"]["triggers"] == ["identity"]
    assert "ecid" not in told["identityMap"]
    road.source.bodies += [update(800, f"ecid:{DEVICE}", vip=True)]
    (device, person) = live(
        road, asked("profile", namespace="ecid", id=DEVICE), asked("profile", namespace="email", id=PLANTED)
    )
    assert device["profileId"] != person["profileId"]
    assert device["identities"] == [{"namespace": "ecid", "id": DEVICE}]
    same(road)

    async def last(engine: Engine) -> None:
        with pytest.raises(RefusedError, match="delete the profile instead"):
            await asked("profile-unlink", namespace="ecid", id=DEVICE)(engine)

    live(road, last)
