"""What the last message about every profile may be, by the independent fold, and what it is on a stream.

After a catch-up a flow's stream lacks messages, so the judge of every message cannot judge it. This can: the last
message about a profile must show it as it was after the last input that was to be exported, or later.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from headrace.testing.fold import FlowPlan, _Folder, _message
from headrace.testing.judge import canonical

Identities = frozenset[tuple[str, str]]


class Latest(NamedTuple):
    """One profile that is left at the end.

    Attributes:
        states: What its last message may say; empty when it never was to be exported.
        member: It is in one of the audiences at the end.
    """

    states: frozenset[Hashable]
    member: bool


def latest(bodies: Iterable[bytes], plan: FlowPlan) -> dict[Identities, Latest]:
    """Fold inputs, and tell of each profile that is left what its last message may be."""
    folder = _Folder({"f": plan}, None, canonical)
    states: dict[int, list[Hashable]] = {}
    counts: dict[int, int] = {}
    for order, body in enumerate(bodies):
        identities = _identities_of(msgspec.json.decode(body)) if body[:1] == b"{" else ()
        if not identities:
            continue
        sides = {folder._owner[identity].born for identity in identities if identity in folder._owner}
        folder.take(order, body)
        profile = folder._owner[identities[0]]
        for side in sides - {profile.born}:
            # Where a merge alone is not exported, what was told of either side stays the last.
            states.setdefault(profile.born, []).extend(states.get(side, ()))
        count = len(folder._messages["f"].get(profile.born, ()))
        if count != counts.get(profile.born, 0):
            counts[profile.born] = count
            states[profile.born] = []
        if profile.born in states:
            states[profile.born].append(canonical(_message(plan, profile)))
    return {
        frozenset(profile.identities): Latest(
            frozenset(states.get(profile.born, ())), any(profile.is_in(segment) for segment in plan.segments)
        )
        for profile in folder._owner.values()
    }


def _identities_of(update: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (namespace.lower(), entry["id"])
        for namespace, entries in (update.get("identityMap") or {}).items()
        for entry in entries
    ]


def differing(bodies: Sequence[bytes], plan: FlowPlan, arrived: Iterable[bytes]) -> list[str]:
    """What is wrong with the last messages on a stream: empty when every profile's is its current state."""
    wanted = latest(bodies, plan)
    owner = {identity: profile for profile in wanted for identity in profile}
    last: dict[Identities, Hashable] = {}
    for data in dict.fromkeys(arrived):  # whoever reads drops repeats
        message = msgspec.json.decode(data)
        last[owner[_identities_of(message)[0]]] = canonical(message)
    wrong = []
    for profile, expected in wanted.items():
        if profile in last:
            if expected.states and last[profile] not in expected.states:
                wrong.append(f"the last message about {sorted(profile)} is not its current state")
        elif expected.member:
            wrong.append(f"nothing was told of {sorted(profile)}")
    return wrong


def order_broken(arrived: Iterable[bytes]) -> list[str]:
    """First occurrences whose ``seq`` within a profile and epoch does not grow; of messages with metadata."""
    seen: set[str] = set()
    highest: dict[tuple[str, int], int] = {}
    wrong = []
    for data in arrived:
        said = msgspec.json.decode(data)["_headrace"]
        if said["exportId"] in seen:
            continue
        seen.add(said["exportId"])
        lane = (said["profileId"], said["epoch"])
        if said["seq"] <= highest.get(lane, 0):
            wrong.append(f"{lane}: {said['seq']} after {highest[lane]}")
        highest[lane] = max(said["seq"], highest.get(lane, 0))
    return wrong
