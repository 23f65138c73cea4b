"""Explanations against an independent computation, and what is said where journal and ledger no longer reach."""

from __future__ import annotations

import random
import re
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import msgspec
import pytest

from headrace.core import canonical as configurations
from headrace.core import flow as flows
from headrace.core.flow import MappedSegment
from headrace.core.model import Delete, Tick
from headrace.destinations.base import Verdict
from headrace.destinations.memory import Accepted, Rule
from headrace.errors import RefusedError
from headrace.runtimes.embedded import became
from headrace.runtimes.embedded.explain import Explainer, Question
from headrace.runtimes.embedded.facts import Explanation, FlowFacts
from headrace.state.keys import JOURNAL, LEDGER, MOST
from headrace.state.ledger import Ledger
from headrace.state.pages import Roll
from headrace.testing.fold import FlowPlan, _Folder
from headrace.testing.judge import canonical, content
from tests.e2e.updates import PLANS, updates
from tests.runtimes.road import KEYS, Lines, MemoryDisk, Road, RocksDisk, flow, members, refuse, snapshot, update
from tests.runtimes.told import Told, identities, told

COUNT = 3000
BEFORE = 100_000


def sources(lines: Sequence[bytes], repeats: set[int]) -> dict[tuple[str, Hashable], set[int]]:
    """Flow and content of every message to the lines that make it, by folding them one by one."""
    folder = _Folder(PLANS, None, canonical)
    seen = dict.fromkeys(PLANS, 0)
    found: dict[tuple[str, Hashable], set[int]] = {}
    for number, line in enumerate(lines):
        if number in repeats:
            continue
        kept = {flow_id: {born: len(m) for born, m in folder._messages[flow_id].items()} for flow_id in PLANS}
        folder.take(number, line)
        for flow_id, messages in folder._messages.items():
            for born, every in messages.items():
                for message in every[kept[flow_id].get(born, 0) :]:
                    found.setdefault((flow_id, message), set()).add(number)
                    seen[flow_id] += 1
    assert all(seen.values())
    return found


def planned(flow_id: str, plan: FlowPlan) -> flows.CompiledFlow:
    segments: dict[str, dict[str, MappedSegment]] = {}
    for namespace, segment_id in plan.segments:
        segments.setdefault(namespace, {})[segment_id] = MappedSegment()
    return configurations.build(
        id=flow_id, name=flow_id.title(), spec_id="memory", segments=segments, paths=tuple(plan.paths),
        membership_scope=plan.scope, metadata=True,
        **{f"trigger_{t}": t in plan.triggers for t in ("segment", "identity", "attribute")},
    )  # fmt: skip


class Ran(NamedTuple):
    """A run that is over: what each input should be told to have done, and who tells."""

    road: Road
    told: list[Told]
    explainer: Explainer
    sources: dict[tuple[str, Hashable], set[int]]
    """Flow and content of a message to the numbers of the lines that make it, by the plain fold."""

    def line(self, answer: Explanation) -> bytes:
        """The line of the input that an answer names, where ordinals count lines that were no refusals."""
        assert answer.input is not None
        return self.road.source.bodies[self.told[answer.input.ordinal - 1].line]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """3,000 updates with merges, exits, refused ones and repeats, through an engine that begins three times."""
    rng = random.Random(5)
    lines = list(updates(11, COUNT, 300))
    ids: list[str | None] = [f"u{n}" for n in range(COUNT)]
    repeats = set()
    for number in sorted(rng.sample(range(500, COUNT), 60)):
        first = number - rng.randrange(1, 400)
        if first not in repeats:
            lines[number], ids[number] = lines[first], ids[first]
            repeats.add(number)
    for number in rng.sample(sorted(set(range(COUNT)) - repeats), 20):
        if ids.count(ids[number]) == 1:
            lines[number] = b'{"no":"identity"}'
    source = Lines(lines, ids=ids)
    disk = RocksDisk(tmp_path_factory.mktemp("explained"))
    road = Road(disk, source, snapshot(*(planned(f, plan) for f, plan in PLANS.items())), page_rows=500)
    # One stream numbers its records beyond the other's, so that shard and number name one record.
    road.stream("second").accepted += [Accepted(n + 1, "", "", b"") for n in range(BEFORE)]
    for whole in (1000, 2000, COUNT):
        source.bodies = lines[:whole]
        assert road.run().drained
    made = told(lines, PLANS, frozenset(repeats))
    yield Ran(road, made, Explainer(disk.open(), KEYS), sources(lines, repeats))
    disk.close()


def explained(ran: Ran, answer: Explanation, expected: Told, flow_id: str) -> FlowFacts:
    """An answer about one input is right in all but the flow's decision, which is returned."""
    assert answer.unknown == []
    assert answer.input is not None
    assert answer.input.content.encode() == ran.road.source.bodies[expected.line]
    assert answer.input.source == "lines"
    memberships = answer.profile.memberships
    assert memberships is not None
    assert {m.audience: m.before for m in memberships if m.before != "none"} == expected.before
    assert {m.audience: m.after for m in memberships if m.after != "none"} == expected.after
    assert len(answer.profile.joined) == len(expected.absorbed)
    assert answer.profile.made == expected.fresh
    found = next(f for f in answer.flows if f.id == flow_id)
    assert set(found.audiences) == {"/".join(segment) for segment in PLANS[flow_id].segments}
    assert sorted(found.attributes) == sorted(PLANS[flow_id].paths)
    assert found.configuration == ran.road.configuration.version
    return found


@pytest.mark.slow
def test_a_record_of_the_stream_leads_to_its_input_and_trigger(ran: Ran) -> None:
    """For 1,000 random records, by shard and sequence number: input, memberships, trigger, message and answer."""
    records: list[tuple[str, Accepted]] = [(f, r) for f in PLANS for r in ran.road.stream(f).accepted if r.data]
    assert len(records) > 1200
    with_merge = sure = 0
    for flow_id, record in random.Random(1).sample(records, 1000):
        answers = [
            ran.explainer.explain(Question(shard=record.shard, sequence=str(record.sequence))),
            ran.explainer.explain(Question(export_id=msgspec.json.decode(record.data)["_headrace"]["exportId"])),
        ]
        answer = answers[0]
        assert answers[1] == answer
        assert answer.input is not None
        expected = ran.told[answer.input.ordinal - 1]
        lines = ran.sources[flow_id, content(record.data)]
        assert expected.line in lines
        sure += len(lines) == 1
        found = explained(ran, answer, expected, flow_id)
        assert [f.id for f in answer.flows] == [flow_id]
        assert found.message is not None
        assert found.message.encode() == record.data
        assert found.exported
        assert found.cause is not None
        assert found.cause.triggers == expected.triggers[flow_id]
        assert (found.state, found.shard, found.sequence) == ("delivered", record.shard, str(record.sequence))
        assert found.attempts == 1
        with_merge += bool(answer.profile.joined)
    assert with_merge > 10
    assert sure > 900


@pytest.mark.slow
def test_an_input_without_export_is_explained_by_the_rule_that_held_it_back(ran: Ran) -> None:
    """For 1,000 random (input, flow) pairs without export: the reason, by the number of the input."""
    held = [(o, f) for o, t in enumerate(ran.told, 1) for f, reason in t.reasons.items() if reason]
    seen = set()
    for ordinal, flow_id in random.Random(2).sample(held, 1000):
        expected = ran.told[ordinal - 1]
        answer = ran.explainer.explain(Question(ordinal=ordinal))
        found = explained(ran, answer, expected, flow_id)
        assert [f.id for f in answer.flows] == list(PLANS)
        assert not found.exported
        assert found.reason == expected.reasons[flow_id]
        assert found.meaning
        assert found.cause is None
        seen.add(found.reason)
    assert seen == {"no-relevant-change", "not-a-member", "trigger-off", "repeat"}


@pytest.mark.slow
def test_a_person_is_found_by_identity_and_time(ran: Ran) -> None:
    """The last input by a time about the profile that then had the identity; through merges."""
    owner: dict[tuple[str, str], int] = {}
    last: dict[int, int] = {}
    lines = [ran.explainer.past.line(ordinal) for ordinal in range(1, len(ran.told) + 1)]
    times = [line.block.now_ms for line in lines if line is not None]
    rng, asked = random.Random(3), 0
    for ordinal, (one, at_ms) in enumerate(zip(ran.told, times, strict=True), 1):
        for identity in identities(msgspec.json.decode(ran.road.source.bodies[one.line])):
            owner.setdefault(identity, one.born)
        owner = {identity: one.born if born in one.absorbed else born for identity, born in owner.items()}
        last[one.born] = ordinal
        if at_ms not in times[ordinal:]:
            for identity in rng.sample(sorted(owner), 3):
                answer = ran.explainer.explain(Question(identity=":".join(identity), at_ms=at_ms))
                assert answer.input is not None
                assert answer.input.ordinal == last[owner[identity]], (identity, ordinal)
                asked += 1
    assert asked > 100


@pytest.mark.slow
def test_a_search_opens_few_blocks(ran: Ran) -> None:
    """Counted are blocks opened, of those that there are: by export, by place, and inputs of a profile."""
    explainer = Explainer(ran.road.disk.open(), KEYS)
    journal = len(list(explainer.past.reader.stored(0, 1 << 60)))
    tail = sum(1 for _ in explainer.past.reader.stored(explainer.past._pages.tail(), 1 << 60))
    assert journal > 50
    assert tail < 15
    old = next(o for o, t in enumerate(ran.told, 1) if o > 200 and not t.fresh)
    explainer.explain(Question(ordinal=old))
    assert explainer.past.reader.opened < 15


class Small:
    """A road of few updates, and its explainer."""

    def __init__(self, *bodies: bytes, configuration: flows.Snapshot | None = None) -> None:
        self.disk = MemoryDisk()
        self.road = Road(self.disk, Lines(bodies), configuration)

    def run(self) -> Small:
        self.road.run()
        return self

    def more(self, *bodies: bytes) -> Small:
        self.road.source.bodies += bodies
        return self.run()

    def explain(self, **question: str | int) -> Explanation:
        return Explainer(self.disk.state, KEYS).explain(msgspec.convert(question, Question))

    def forget(self, space: bytes) -> None:
        """Remove all blocks that are there, as their age would."""
        roll = Roll(self.disk.state, KEYS, space)
        write = self.disk.state.batch()
        roll.sweep(write, 1 << 50, 0, 1 << 40)
        self.disk.state.commit(write)

    def only(self, answer: Explanation) -> FlowFacts:
        assert len(answer.flows) == 1
        return answer.flows[0]


def test_an_export_that_waits_is_pending() -> None:
    """One in the outbox is found by id and by input, with its message and without an answer."""
    paused = flow(paused=True)
    small = Small(update(1, "email:a", vip=True), configuration=snapshot(paused)).run()
    found = small.only(small.explain(ordinal=1))
    assert (found.state, found.exported, found.attempts, found.sequence) == ("pending", True, None, "")
    assert found.message is not None
    assert '"n":1' in found.message
    assert small.explain(export_id=found.export_id) == small.explain(ordinal=1)
    assert found.settings["state"] == "disabled"


def test_what_became_of_many_exports_is_found_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """In pages and behind them; each ledger block is opened once for all, or each export looked for by its own id."""
    disk = MemoryDisk()
    many = snapshot(*(flow(f"f{number}") for number in range(9)))
    bodies = [update(number, "email:a", vip=True) for number in range(40)]
    road = Road(disk, Lines(bodies, sizes=lambda: 2), many, page_rows=100)
    assert road.run().drained

    def told(ordinal: int) -> tuple[Explanation, int]:
        explainer = Explainer(disk.state, KEYS)
        return explainer.explain(Question(ordinal=ordinal)), explainer.ledger.reader.opened

    blocks = len(list(Ledger(disk.state, KEYS).reader.stored(0, MOST)))
    answers = []
    for ordinal in range(1, 41):
        answer, opened = told(ordinal)
        answers.append(answer)
        assert {facts.state for facts in answer.flows} == {"delivered"}
        assert opened <= blocks + 9
    monkeypatch.setattr(became, "_MOST_OPENED", 0)
    assert [told(ordinal)[0] for ordinal in range(1, 41)] == answers


@pytest.mark.parametrize("page_rows", [1, 16_384])
def test_an_export_that_settled_before_it_was_made_is_found(page_rows: int) -> None:
    """By the clock, which was set back by hours in between."""
    road = Road(
        MemoryDisk(), Lines([update(1, "email:a", vip=True)]), snapshot(flow(paused=True)), page_rows=page_rows
    )
    road.run()
    road.clock.advance(-7 * 3600)
    road.configuration = snapshot(flow())
    assert road.run().drained
    (facts,) = Explainer(road.disk.open(), KEYS).explain(Question(ordinal=1)).flows
    assert facts.settled < facts.made
    assert facts.state == "delivered"


def test_one_flow_of_many_can_be_asked_for() -> None:
    """Of an input, or of the last one about a person: what the others decided is left out, the rest stays."""
    small = Small(update(1, "email:a", vip=True), configuration=snapshot(flow("f"), flow("o"))).run()
    for question in ({"ordinal": 1}, {"identity": "email:a"}):
        whole, one = small.explain(**question), small.explain(**question, flow="o")
        assert one == msgspec.structs.replace(whole, flows=[each for each in whole.flows if each.id == "o"])
        assert len(whole.flows) == 2
        assert small.explain(**question, flow="none").flows == []


def test_a_dead_letter_is_named_with_the_answer() -> None:
    """A refused export shows code, words, shard and the letter to look at."""
    small = Small(update(1, "email:a", vip=True))
    refuse(small.road, Rule(Verdict.REJECTED, code="TooLarge", detail="is too large"))
    found = small.only(small.run().explain(ordinal=1))
    assert (found.state, found.code, found.detail) == ("dead-letter", "TooLarge", "is too large")
    assert re.fullmatch(r"\d+-1", found.letter)
    assert found.sequence == ""


def test_consent_shows_the_rule_and_what_the_profile_says() -> None:
    """Path and allowed values, and the profile's value after the input."""
    asking = flow(consent=flows.Consent(("consents", "email"), ("y",)))
    small = Small(update(1, "email:a", vip=True, consents={"email": "n"}), configuration=snapshot(asking)).run()
    found = small.only(small.explain(identity="Email:a"))
    assert (found.reason, found.exported) == ("consent", False)
    assert found.consent == {"path": "consents.email", "allowed": ["y"], "says": "n"}


def test_an_earlier_configuration_is_shown_as_it_was() -> None:
    """Selectors and settings are those that decided, not those in force now."""
    small = Small(update(1, "email:a", vip=True), configuration=snapshot(flow(paths=("old",)))).run()
    small.road.configuration = snapshot(flow(paths=("n",), metadata=True))
    small.more(update(2, "email:a"))
    before, after = small.only(small.explain(ordinal=1)), small.only(small.explain(ordinal=2))
    assert (before.attributes, after.attributes) == (["old"], ["n"])
    assert (before.settings["metadata"], after.settings["metadata"]) == (False, True)
    assert before.configuration != after.configuration


def test_a_flow_over_its_budget_is_named_and_folded_as_it_was() -> None:
    """An input that came while a flow held back: the reason, and no difference between what is stored and folded."""
    tiny = flow(paused=True, disk_budget_bytes=2_000)
    disk = MemoryDisk()
    Road(disk, Lines(members(100, 5), sizes=lambda: 5), snapshot(tiny), batch_updates=5).run()
    answers = [Explainer(disk.state, KEYS).explain(Question(ordinal=ordinal)) for ordinal in range(1, 101)]
    assert {a.flows[0].reason for a in answers} == {"", "catch-up"}
    assert answers[0].flows[0].state == "pending"
    assert not answers[-1].flows[0].exported
    assert answers[-1].flows[0].meaning
    assert all(a.unknown == [] for a in answers)


def test_commands_are_explained_too() -> None:
    """A tick that ends nothing is held back; a deletion forgets the profile and is found by its input."""
    small = Small(update(1, "email:a", vip=True)).run()
    profile_id = small.explain(ordinal=1).profile.id

    async def use(engine: object) -> None:
        small.road.engine.submit(Tick(profile_id))
        small.road.engine.submit(Delete(profile_id))
        await small.road.engine.run(until_drained=True)

    small.road.life(use)
    tick, gone = small.explain(ordinal=2), small.explain(ordinal=3)
    assert tick.input is not None
    assert gone.input is not None
    assert (tick.input.kind, small.only(tick).reason) == ("tick", "no-relevant-change")
    assert (gone.input.kind, gone.profile.deleted, gone.unknown) == ("delete", True, [])
    assert gone.profile.memberships is not None
    assert [(m.before, m.after) for m in gone.profile.memberships] == [("realized", "none")]
    with pytest.raises(RefusedError, match="no profile has the identity"):
        small.explain(identity="email:a")


def test_a_journal_that_no_longer_reaches_back_is_named() -> None:
    """The ledger alone tells trigger and answer; what it cannot tell is said."""
    small = Small(update(1, "email:a", vip=True)).run()
    whole = small.only(small.explain(ordinal=1))
    small.forget(JOURNAL)
    answer = small.explain(sequence="1", shard="shardId-000000000000")
    found = small.only(answer)
    assert answer.input is None
    assert answer.profile.memberships is None
    assert (found.export_id, found.cause, found.state) == (whole.export_id, whole.cause, "delivered")
    assert any("journal does not hold it; the journal is empty" in sentence for sentence in answer.unknown)
    with pytest.raises(RefusedError, match="the journal holds no input 1; the journal is empty"):
        small.explain(ordinal=1)


def test_a_ledger_that_no_longer_reaches_back_is_named() -> None:
    """The journal alone tells input, decision and message; what became of the export is not known."""
    small = Small(update(1, "email:a", vip=True)).run()
    whole = small.only(small.explain(ordinal=1))
    small.forget(LEDGER)
    answer = small.explain(ordinal=1)
    found = small.only(answer)
    assert (found.state, found.message, found.export_id) == ("unknown", whole.message, whole.export_id)
    assert len(answer.unknown) == 1
    with pytest.raises(RefusedError, match="is not in the ledger, and does not wait to be sent; the ledger is empty"):
        small.explain(export_id=whole.export_id)


def test_a_profile_older_than_the_journal_is_known_from_its_next_change() -> None:
    """A profile is journaled as it was when it changes after a start: what is behind that may be gone."""
    small = Small(update(1, "email:a", vip=True), update(2, "email:a", "ecid:x")).run()
    small.forget(JOURNAL)
    small.more(update(3, "email:a"), update(3, "email:a", vip=False), update(4, "email:b", vip=True))
    answer = small.explain(ordinal=4)
    assert answer.unknown == []
    assert answer.profile.memberships is not None
    assert [(m.before, m.after) for m in answer.profile.memberships] == [("realized", "exited")]
    assert (answer.profile.version_before, answer.profile.version_after) == (3, 4)
    assert (small.only(answer).state, answer.profile.made) == ("delivered", False)


def test_an_input_that_changed_nothing_is_known_from_what_the_profile_is_still() -> None:
    """Without any base: nothing has changed the profile since, so it was what it is."""
    seen = update(1, "email:a", vip=True)
    configuration = snapshot(flow(same_value=False))
    small = Small(seen, configuration=configuration).run()
    small.forget(JOURNAL)
    small.more(seen)
    answer = small.explain(identity="email:a")
    assert (answer.unknown, small.only(answer).reason) == ([], "same-value")
    assert answer.profile.version_before == answer.profile.version_after == 1
    small.more(update(2, "email:a"))
    assert small.explain(ordinal=2).unknown == []


def test_wrong_questions_are_refused() -> None:
    """Nothing named, no identity, an unknown one, or one that only a refused update has."""
    small = Small(update(1, "email:a"), b'{"identityMap":{"ECID":[{"id":"lost"}]},"segmentMembership":1}').run()
    for question, words in (
        ({}, "name an export"),
        ({"identity": "a"}, "an identity is namespace:id, not a"),
        ({"identity": "ecid:none"}, "no profile has the identity ecid:none$"),
        ({"identity": "ecid:lost"}, r"refused updates name it: headrace dead-letters show \d+-1"),
        ({"identity": "email:a", "at_ms": 1}, "holds no input about email:a by 1970"),
        ({"ordinal": 2}, "the journal holds no input 2; it begins with input 1"),
    ):
        with pytest.raises(RefusedError, match=words):
            small.explain(**question)


def test_every_explanation_is_plain_values() -> None:
    """What the socket carries can be read back whole."""
    small = Small(update(1, "email:a", vip=True)).run()
    answer = small.explain(ordinal=1)
    assert msgspec.json.decode(msgspec.json.encode(answer), type=Explanation) == answer
