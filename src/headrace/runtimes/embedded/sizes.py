"""How many members each audience has, counted in a sample of the stored profiles.

Nothing counts members as they come and go: that would be written with every commit, to be read now and then. The
sample is that of ``schema``: the same profiles each time, from every part of the id space, and all of them when there
are no more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from headrace.clock import Clock, System
from headrace.runtimes.embedded.schema import BUDGET_S, Begun, sampled
from headrace.state import reading
from headrace.state.base import State
from headrace.state.keys import Keys

MOST_PROFILES: Final = 4000
MOST_AUDIENCES: Final = 10_000
"""Told, the largest first."""
_LOOK: Final = 64
"""Profiles between two looks at the time."""


class Sizes(msgspec.Struct, kw_only=True):
    """What was counted.

    Attributes:
        profiles: Profiles that are stored.
        of: Profiles looked at; all of them where it is not fewer than *profiles*.
        members: Audience (``namespace/id``) to how many of these are members.
        any: How many are members of at least one of the audiences that were asked for.
    """

    profiles: int
    of: int
    members: dict[str, int]
    any: int


class _Member(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A membership whose times are passed over; see ``core.model.Membership``."""

    member: bool


class _Stored(Begun):
    attributes: msgspec.Raw
    stamps: msgspec.Raw
    memberships: dict[str, dict[str, _Member]]


_decode: Final = msgspec.msgpack.Decoder(_Stored).decode


def sizes(
    state: State, keys: Keys, *, any_of: Sequence[str] = (), most: int = MOST_PROFILES, budget_s: float = BUDGET_S,
    clock: Clock | None = None,
) -> Sizes:  # fmt: skip
    """Count members in a sample; may run beside the engine.

    Args:
        state: Where the profiles lie.
        keys: Of the sandbox.
        any_of: Audiences (``namespace/id``) that are counted together too.
        most: Profiles looked at.
        budget_s: Longest time that looking may take.
        clock: Time; the system's when None.
    """
    clock = clock or System()
    until_s = clock.monotonic_s() + budget_s
    counts: dict[str, dict[str, int]] = {}
    wanted: dict[str, frozenset[str]] = {}
    of = together = 0
    for stored in sampled(state, keys, most):
        hit = False
        for namespace, ids in _decode(stored).memberships.items():
            count = counts.get(namespace)
            if count is None:
                count, begin = counts.setdefault(namespace, {}), f"{namespace}/"
                wanted[namespace] = frozenset(each.removeprefix(begin) for each in any_of if each.startswith(begin))
            chosen = wanted[namespace]
            for segment_id, membership in ids.items():
                if membership.member:
                    count[segment_id] = count.get(segment_id, 0) + 1
                    if segment_id in chosen:
                        hit = True
        together += hit
        of += 1
        if of % _LOOK == 0 and clock.monotonic_s() >= until_s:
            break
    members: Counter[str] = Counter()
    for namespace, count in counts.items():  # two audiences may have one name where a namespace has a slash
        members.update({f"{namespace}/{segment_id}": n for segment_id, n in count.items()})
    profiles = reading.totals(state, keys).profiles
    return Sizes(profiles=profiles, of=of, members=dict(members.most_common(MOST_AUDIENCES)), any=together)
