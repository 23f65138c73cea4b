"""Judges every message of a stream by the states that the independent fold finds for each profile.

Where a backfill goes on beside the live traffic, a profile is told of as it is when the run comes to it, so there is
no one list of messages to expect. What holds instead: each message is a state that its profile had, none comes after
a later one, no state is told twice, each live update that is to be told of has its own message, and the last message
about a member is their present state.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from headrace.testing import Written
from headrace.testing.fold import FlowPlan, _Folder, _message, _Profile
from headrace.testing.judge import canonical


class Judged(NamedTuple):
    """What a stream held.

    Attributes:
        messages: Different ones, by export id.
        duplicates: Records that repeat one.
        lost: Live updates to be told of without their message, and members whose last message is not how they are.
        disorder: Messages after one with a later state of the profile, or of the one that has absorbed it.
        unexpected: Messages that say what nobody was, and those that say once more what another one said.
    """

    messages: int
    duplicates: int
    lost: list[str]
    disorder: list[str]
    unexpected: list[str]

    @property
    def problems(self) -> list[str]:
        """Whatever is wrong."""
        return self.lost + self.disorder + self.unexpected


class _Place(NamedTuple):
    """Whose state it is (by order of creation), and after which input."""

    profile: int
    order: int


class States:
    """Folds inputs, each of which must make a state that no other one makes.

    Args:
        plan: The flow's.
    """

    def __init__(self, plan: FlowPlan) -> None:
        self._plan = plan
        self._folder = _Folder({"f": plan}, None, lambda _: None)
        self._places: dict[bytes, _Place] = {}
        self._left: dict[int, tuple[_Profile, int]] = {}
        """Profiles that are left, and the input that changed each last."""
        self._joined: dict[int, _Place] = {}
        """By absorbed profile: which one absorbed it, and after which input."""
        self._due: list[_Place] = []

    def take(self, body: bytes, *, live: bool) -> None:
        """Fold one more input; a live one that is to be told of must have a message of its own."""
        folder, order = self._folder, len(self._places)
        identities = _identities_of(body)
        sides = {folder._owner[identity].born for identity in identities if identity in folder._owner}
        exported = folder._messages["f"]
        told = {side: len(exported.get(side, ())) for side in sides}
        folder.take(order, body)
        profile = folder._owner[identities[0]]
        for side in sides - {profile.born}:
            self._joined[side] = _Place(profile.born, order)
            del self._left[side]
        state = canonical(_message(self._plan, profile))
        assert state not in self._places, f"this input makes a state that there was before: {body!r}"
        self._places[state] = place = _Place(profile.born, order)
        self._left[profile.born] = profile, order
        if live and len(exported.get(profile.born, ())) > told.get(profile.born, 0):
            self._due.append(place)

    @property
    def joins(self) -> int:
        """Profiles that were absorbed."""
        return len(self._joined)

    def members(self) -> dict[int, int]:
        """Profiles that are left and in an audience, and the input that changed each last."""
        return {
            born: order
            for born, (profile, order) in self._left.items()
            if any(profile.is_in(segment) for segment in self._plan.segments)
        }

    def judge(self, records: Iterable[Written]) -> Judged:
        """Judge what the flow's stream received, in the order of its arrival; the messages carry metadata."""
        ids: dict[str, _Place | None] = {}
        seen: set[_Place] = set()
        latest: dict[int, int] = {}
        duplicates, disorder, unexpected = 0, [], []
        for record in records:
            message: dict[str, Any] = msgspec.json.decode(record.data)
            named, place = message["_headrace"]["exportId"], self._places.get(canonical(message))
            if named in ids:
                duplicates += 1
                if ids[named] != place:
                    unexpected.append(f"{named} was written in two versions")
                continue
            ids[named] = place
            if place is None or place in seen:
                unexpected.append(f"{'said before' if place else 'nobody was this'}: {record.data.decode()}")
                continue
            seen.add(place)
            if self._is_late(place, latest):
                disorder.append(f"an older state after a newer one: {record.data.decode()}")
            latest[place.profile] = max(place.order, latest.get(place.profile, 0))
        lost = [f"no message says what input {due.order} did" for due in self._due if due not in seen]
        lost += [
            f"the last message about profile {born} is not how it is since input {order}"
            for born, order in self.members().items()
            if latest.get(born) != order
        ]
        return Judged(len(ids), duplicates, lost, disorder, unexpected)

    def _is_late(self, place: _Place, latest: dict[int, int]) -> bool:
        """Whether something later was told of the profile, or of one that holds it by then."""
        if latest.get(place.profile, -1) > place.order:
            return True
        join = self._joined.get(place.profile)
        while join is not None:
            if latest.get(join.profile, -1) >= join.order:
                return True
            join = self._joined.get(join.profile)
        return False


def _identities_of(body: bytes) -> list[tuple[str, str]]:
    return [
        (namespace.lower(), entry["id"])
        for namespace, entries in msgspec.json.decode(body)["identityMap"].items()
        for entry in entries
    ]
