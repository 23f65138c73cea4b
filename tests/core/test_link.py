"""Linking: the invariants L1 to L3, names, and the guards."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.link import Guards, Link, Row, digest, link, name
from headrace.core.merge import add_identities
from headrace.core.model import Identity
from headrace.core.update import Update, parse_update

from .driving import KEY, Profiles, snapshot, update

POOL = [f"{namespace}:{key}" for namespace in ("ECID", "Email", "crm") for key in "123"]
LINKS = st.lists(st.lists(st.sampled_from(POOL), min_size=1, max_size=3, unique=True), min_size=1, max_size=8)


def partition(links: Sequence[Sequence[str]]) -> set[frozenset[str]]:
    """The classes of what the links join, found another way: by joining sets until nothing more joins."""
    classes: list[set[str]] = []
    for ids in links:
        touching = [c for c in classes if c & set(ids)]
        classes = [c for c in classes if c not in touching] + [set(ids).union(*touching)]
    return {frozenset(text.lower() for text in c) for c in classes}


def made(profiles: Profiles) -> set[frozenset[str]]:
    return {frozenset(f"{n}:{i}" for n, i in ids) for ids in profiles.partition()}


@given(LINKS.flatmap(lambda links: st.tuples(st.just(links), st.permutations(links))))
def test_l1_any_order_of_links_gives_the_same_partition(orders: tuple[list[list[str]], list[list[str]]]) -> None:
    """Both orders join the identities that the links join, and no others."""
    for links in orders:
        profiles = Profiles(snapshot(max_identities=1000))
        profiles.apply(*(update(*ids) for ids in links))
        assert made(profiles) == partition(links)
        for profile_id in profiles.stored:
            profile = profiles.profile(profile_id)
            assert list(profile.identities) == sorted(profile.identities)
            assert all(ids == sorted(set(ids)) for ids in profile.identities.values())


@given(LINKS)
def test_l2_the_profile_created_first_survives(links: list[list[str]]) -> None:
    """Of all profiles that a person was, the one that is left has the least epoch."""
    profiles = Profiles(snapshot(max_identities=1000))
    seen: dict[Identity, int] = {}
    for ids in links:
        profiles.apply(update(*ids))
        for identity in parse_update(update(*ids)).identities:
            seen.setdefault(identity, profiles.ordinal)
    for identity, row in profiles.index.items():
        owned = [i for i, r in profiles.index.items() if r.profile_id == row.profile_id]
        assert row.epoch == min(seen[i] for i in owned) <= seen[identity]


GUARDED = st.tuples(st.integers(1, 4), st.sets(st.sampled_from(["ecid", "email", "crm"]), max_size=3))


@given(LINKS, GUARDED)
def test_l3_a_refused_stitch_touches_the_primary_identitys_profile_only(
    links: list[list[str]], guards: tuple[int, set[str]]
) -> None:
    """No identity moves, no other profile changes; the primary identity's own has it afterwards."""
    profiles = Profiles(snapshot(max_identities=guards[0], unstitchable=guards[1]))
    for ids in links:
        change = parse_update(update(*ids))
        before, index = dict(profiles.stored), dict(profiles.index)
        found = profiles._link(change)
        profiles.apply(change)
        after = profiles.index
        for profile_id in profiles.stored:
            assert sum(map(len, profiles.profile(profile_id).identities.values())) <= guards[0]
        if found.refused:
            mine = after[change.primary].profile_id
            if not found.absorbed:
                assert {i: row for i, row in after.items() if i in index} == index
                assert {p: b for p, b in profiles.stored.items() if p != mine} == {
                    p: b for p, b in before.items() if p != mine
                }
        if not found.refused:
            assert len({after[i] for i in change.identities}) == 1


def linked(change: bytes, rows: dict[str, tuple[str, int] | None], guards: Guards, counts: int = 1) -> Link:
    found = {Identity(*text.split(":")): Row(*row) if row else None for text, row in rows.items()}
    update = parse_update(change)
    return link(update.identities, update.primary, found, lambda _: counts, guards)


A, B, C = ("a" * 32, 1), ("b" * 32, 2), ("c" * 32, 3)


@pytest.mark.parametrize(
    ("primary", "rows", "expected"),
    [
        # A shared device leads nowhere while the update has another identity...
        ("email:x", {"ecid:1": A, "email:x": B}, ("b" * 32, (), ["email:x"], True)),
        ("email:x", {"ecid:1": A, "email:x": None}, ("", (), ["email:x"], True)),
        # ...where it is primary itself, the update is its profile's.
        ("ecid:1", {"ecid:1": A, "email:x": B}, ("a" * 32, (), ["ecid:1"], True)),
        ("ecid:1", {"ecid:1": A, "email:x": None}, ("a" * 32, (), ["ecid:1"], True)),
        # One that nobody has yet joins the profile that the others lead to.
        ("email:x", {"ecid:1": None, "email:x": B}, ("b" * 32, (), ["ecid:1", "email:x"], False)),
        ("ecid:1", {"ecid:1": None, "email:x": None}, ("", (), ["ecid:1", "email:x"], False)),
        # The others may join what they join; what the device had already is not kept apart.
        ("email:x", {"ecid:1": C, "email:x": B, "email:y": C},
         ("b" * 32, ("c" * 32,), ["ecid:1", "email:x", "email:y"], False)),
        ("email:x", {"ecid:1": A, "email:x": B, "email:y": C}, ("b" * 32, ("c" * 32,), ["email:x", "email:y"], True)),
    ],
)  # fmt: skip
def test_an_unstitchable_namespace_joins_no_profiles(
    primary: str, rows: dict[str, tuple[str, int] | None], expected: tuple[str, tuple[str, ...], list[str], bool]
) -> None:
    """Each case of an ECID that may not stitch."""
    found = linked(update(*rows, primary=primary), rows, Guards(50, frozenset(["ecid"])))
    assert (found.profile_id, found.absorbed, [f"{n}:{i}" for n, i in found.identities], found.refused) == expected


def told(found: Link) -> tuple[str, tuple[str, ...], list[Identity], bool]:
    """All of an answer."""
    return found.profile_id, found.absorbed, found.identities, found.refused


def test_only_unstitchable_identities_are_the_primary_ones() -> None:
    """Two devices of different profiles in one update: the primary one leads, and none moves."""
    found = linked(
        update("ecid:1", "ecid:2", primary="ecid:2"), {"ecid:1": A, "ecid:2": B}, Guards(50, frozenset(["ecid"]))
    )
    assert told(found) == ("b" * 32, (), [Identity("ecid", "2")], True)


@pytest.mark.parametrize(("most", "refused"), [(4, False), (3, True)])
def test_the_limit_of_identities_counts_all_sides(most: int, refused: bool) -> None:
    """Two profiles of one identity each and two new ones make four."""
    rows = {"a:1": B, "b:1": A, "c:1": None, "d:1": None}
    found = linked(update(*rows, primary="a:1"), rows, Guards(most))
    assert found.refused is refused
    assert (found.profile_id, len(found.identities)) == (("b" * 32, 1) if refused else ("a" * 32, 4))


def test_a_full_profile_is_still_updated() -> None:
    """A profile at the limit takes updates of the identities it has."""
    found = linked(update("a:1", "b:1"), {"a:1": A, "b:1": A}, Guards(2), counts=2)
    assert told(found) == ("a" * 32, (), [Identity("a", "1"), Identity("b", "1")], False)


def test_a_new_profile_beyond_the_limit_has_the_primary_identity_alone() -> None:
    """An update that names more identities than a profile may gather makes a profile of one."""
    profiles = Profiles(snapshot(max_identities=2))
    profiles.apply(update("a:1", "b:1", "c:1", primary="b:1"))
    assert made(profiles) == {frozenset(["b:1"])}


def test_names_are_keyed_and_distinct() -> None:
    """Another key, namespace, id or epoch gives another name; the separator cannot be forged."""
    names = {
        name(KEY, Identity("a", "1")),
        name(bytes(32), Identity("a", "1")),
        name(KEY, Identity("a", "2")),
        name(KEY, Identity("b", "1")),
        name(KEY, Identity("a", "1"), 7),
    }
    assert len(names) == 5
    assert all(len(text) == 32 and set(text) <= set("0123456789abcdef") for text in names)
    # HMAC is begun once a key in there: it must come to what the library says.
    assert name(KEY, Identity("a", "1")) == hmac.digest(KEY, b"a\x001", "sha256")[:16].hex()
    assert digest("a\0b") != digest("ab") != digest("a\0\0b")


def test_very_many_identities_cost_linear_time() -> None:
    """Comparing each of 100,000 identities with each other would take longer than any test may."""
    identities = [Identity("a", f"{n:08}") for n in range(100_000)]
    change = Update(identities, identities[0], [], {})
    for unstitchable in ((), ("a",)):
        found = link(
            change.identities,
            change.primary,
            dict.fromkeys(identities),
            lambda _: 0,
            Guards(100_000, frozenset(unstitchable)),
        )
        assert found.identities == identities
    assert add_identities({}, identities) == {"a": [i.id for i in identities]}
