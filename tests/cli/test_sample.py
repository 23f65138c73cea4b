"""The sample is what its description says, whatever the seed."""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise
from pathlib import Path

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.cli.demo_service import _AT_FIRST
from headrace.cli.sample import HIGH_PROPENSITY, SPAN_MS, WHITE_PAPER, generate, sample_configuration, somebody
from headrace.control.configuration import parse
from headrace.core.update import Update, parse_update
from headrace.destinations.kinesis.spec import SPEC
from headrace.errors import UpdateRefusedError

README = Path(__file__).parents[2] / "README.md"
START_MS = 1_767_225_600_000


def parsed(lines: list[bytes]) -> tuple[list[Update], list[str]]:
    """The updates that parse, and the reasons of those that do not."""
    updates: list[Update] = []
    reasons: list[str] = []
    for line in lines:
        try:
            updates.append(parse_update(line))
        except UpdateRefusedError as error:
            reasons.append(error.reason)
    return updates, reasons


def groups(updates: list[Update]) -> list[set[str]]:
    """The people: identities joined by any update, found without the code under test's own linking."""
    of: dict[str, set[str]] = {}
    for update in updates:
        names = {f"{identity.namespace}/{identity.id}" for identity in update.identities}
        together = names.union(*(of.get(name, set()) for name in names))
        for name in together:
            of[name] = together
    return list({id(group): group for group in of.values()}.values())


@given(seed=st.integers(), profiles=st.integers(0, 60), malformed=st.integers(0, 9))
@settings(max_examples=30)
def test_same_arguments_same_bytes(seed: int, profiles: int, malformed: int) -> None:
    """The arguments alone decide every byte."""
    first = list(generate(seed, profiles, START_MS, malformed))
    assert first == list(generate(seed, profiles, START_MS, malformed))
    assert all(b"\n" not in line for line in first)


@given(seed=st.integers(0, 10_000), profiles=st.integers(0, 60), malformed=st.integers(0, 9))
@settings(max_examples=30)
def test_people_and_malformed_are_as_many_as_asked(seed: int, profiles: int, malformed: int) -> None:
    """There are exactly as many people as asked for, and exactly as many lines that do not parse."""
    updates, reasons = parsed(list(generate(seed, profiles, START_MS, malformed)))
    assert len(groups(updates)) == profiles
    assert len(reasons) == malformed


def test_other_seeds_are_other_people() -> None:
    """Two samples share no identity, so that one can follow the other."""
    first, _ = parsed(list(generate(1, 200, START_MS)))
    second, _ = parsed(list(generate(2, 200, START_MS)))
    assert not {i for u in first for i in u.identities} & {i for u in second for i in u.identities}


def test_journeys_are_realistic() -> None:
    """Three to four updates a person; people join, qualify, leave, change and merge, each in a plausible share."""
    lines = list(generate(7, 2000, START_MS))
    updates, _ = parsed(lines)
    assert 3.0 <= len(updates) / 2000 <= 4.0
    people = groups(updates)
    joined = [person for person in people if any(name.startswith("email/") for name in person)]
    merged = [person for person in people if sum(name.startswith("ecid/") for name in person) > 1]
    assert 0.55 <= len(joined) / len(people) <= 0.65
    assert 0.04 <= len(merged) / len(people) <= 0.12
    changes = Counter((change.segment_id, change.member) for update in updates for change in update.memberships)
    assert changes[WHITE_PAPER, True] >= len(joined)
    assert 0.4 <= changes[HIGH_PROPENSITY, True] / len(joined) <= 0.6
    assert 0.2 <= changes[HIGH_PROPENSITY, False] / changes[HIGH_PROPENSITY, True] <= 0.4
    fields = {field for update in updates for field in update.attributes}
    assert fields == {"person", "personalEmail", "homeAddress", "loyalty", "webActivity"}


def test_a_merge_joins_two_profiles_that_exist() -> None:
    """Some updates join what earlier ones had made different profiles, often two that both were in an audience."""
    of: dict[object, set[object]] = {}
    merges = both = 0
    for update in parsed(list(generate(7, 2000, START_MS)))[0]:
        known = {id(of[identity]): of[identity] for identity in update.identities if identity in of}
        merges += len(known) > 1
        both += sum("member" in profile for profile in known.values()) > 1
        together: set[object] = set(update.identities).union(*known.values())
        if update.memberships:
            together.add("member")
        for identity in together:
            of[identity] = together
    assert merges >= 80
    assert both >= 30


def test_leaving_is_later_than_entering() -> None:
    """Who leaves an audience does so with a later qualification time, and all times lie within the span."""
    entered: dict[str, str] = {}
    email = ""
    left = 0
    for update in parsed(list(generate(3, 1000, START_MS)))[0]:
        for change in update.memberships:
            email = next(identity.id for identity in update.identities if identity.namespace == "email")
            assert change.since is not None
            assert "2026-01-01T00:00:00" <= change.since < "2026-01-01T02:00:00"
            if change.segment_id == HIGH_PROPENSITY and change.member:
                entered[email] = change.since
            elif change.segment_id == HIGH_PROPENSITY:
                assert change.since > entered[email]
                left += 1
    assert left > 20
    assert SPAN_MS == 3_600_000


def test_updates_come_interleaved() -> None:
    """Journeys overlap as they would in real time: neighbours in the sample are mostly other people."""
    updates, _ = parsed(list(generate(3, 500, START_MS, 0)))
    same = sum(a.identities[-1] == b.identities[-1] for a, b in pairwise(updates))
    assert same < len(updates) / 20


def test_malformed_lines_are_spread_and_of_different_kinds() -> None:
    """Five malformed lines are five kinds of mistake, and good updates follow the last of them."""
    lines = list(generate(1, 1000, START_MS, 5))
    places = []
    reasons = []
    for place, line in enumerate(lines):
        try:
            parse_update(line)
        except UpdateRefusedError as error:
            places.append(place)
            reasons.append(error.reason)
    assert reasons == ["not-json", "no-identity", "bad-membership", "bad-time", "not-an-object"]
    assert places[0] > 100
    assert places[-1] < len(lines) - 100
    assert min(b - a for a, b in pairwise(places)) > 100


@pytest.mark.parametrize("stream", ["demo", "needs: quotes #1", 'a "b"'])
def test_configuration_holds_what_it_was_given(stream: str) -> None:
    """Endpoint, stream and region come back from the YAML as given, and every selected audience is declared."""
    found = yaml.safe_load(sample_configuration("http://127.0.0.1:4567", stream, "eu-west-1"))
    params = found["connections"][0]["auth"]["params"]
    target = found["targetConnections"][0]
    assert params["endpointUrl"] == "http://127.0.0.1:4567"
    assert params["region"] == target["params"]["region"] == "eu-west-1"
    assert target["params"]["stream"] == stream
    declared = {segment["id"] for segment in found["segments"]}
    selectors = found["flows"][0]["transformations"][0]["params"]["segmentSelectors"]["selectors"]
    assert {selector["value"]["id"] for selector in selectors} == declared == {WHITE_PAPER, HIGH_PROPENSITY}


def test_configuration_has_no_mistake() -> None:
    """The demo's configuration is accepted without a mistake or a warning, with the block on."""
    text = sample_configuration("http://127.0.0.1:4567", "demo", "eu-west-1")
    configuration = parse(text.encode(), {SPEC.id: SPEC}, environ={})
    assert configuration.warnings == []
    assert list(configuration.targets) == ["demo-flow"]
    (flow,) = configuration.snapshot.flows
    assert flow.metadata
    assert set(flow.segments["ups"]) == {WHITE_PAPER, HIGH_PROPENSITY}


def test_every_mapped_path_occurs() -> None:
    """Each attribute that the configuration maps is written by some update of the sample."""
    found = yaml.safe_load(sample_configuration("http://127.0.0.1:1", "s", "r"))
    selectors = found["flows"][0]["transformations"][0]["params"]["profileSelectors"]["selectors"]
    records = [msgspec.json.encode(update.attributes) for update in parsed(list(generate(1, 300, START_MS)))[0]]
    for selector in selectors:
        leaf = selector["value"]["path"].rsplit(".", 1)[-1]
        assert any(f'"{leaf}":'.encode() in record for record in records), selector


def test_the_readme_names_somebody_of_the_demo_who_has_a_story() -> None:
    """Among the first updates of the demo as it is started; what it sends at another time names the same."""
    first = list(islice(generate(1), _AT_FIRST))
    address = somebody(first)
    assert f"`{address}`" in README.read_text(encoding="utf-8")
    assert address == somebody(islice(generate(1, start_ms=START_MS + 86_400_000), _AT_FIRST))
    about = [each for each in parsed(first)[0] if any(identity.id == address for identity in each.identities)]
    assert len(about) >= 3
    assert {membership.segment_id for each in about for membership in each.memberships} == {
        WHITE_PAPER, HIGH_PROPENSITY,
    }  # fmt: skip


def test_nobody_is_named_where_nobody_left_an_address() -> None:
    """Lines that name none, and lines that are no updates."""
    assert somebody([]) == ""
    assert somebody([b"{", b"[1]", b'{"identityMap": {"ECID": [{"id": "1"}]}}', b'{"identityMap": 7}']) == ""
    assert somebody([b'{"identityMap": {"Email": [{"id": ""}]}}']) == ""
