"""What becomes of memberships as time passes: validUntil, and the 30-day rules of spec 1.5.

Holds always (tests/core/test_lifetimes.py checks each by its number):
    E1  A membership that arrives past its validUntil is stored as a tick at that time would have left it.
    E2  Whatever ``run_out`` would do to a membership at some time, ``end_ms`` named that time when it changed.
    E3  After ``run_out`` nothing is left that has run out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from headrace.core.flow import PLATFORM_NAMESPACE
from headrace.core.merge import Moved
from headrace.core.model import Lifetimes, Membership, MembershipChange
from headrace.core.times import from_ms, to_ms

_DAY_MS: Final = 86_400_000

Memberships = dict[str, dict[str, Membership]]


def end_ms(namespace: str, m: Membership, rules: Lifetimes) -> int:
    """When a membership leaves or is removed by itself, epoch milliseconds; 0 for never.

    Days count from the later of lastQualificationTime and the time received.
    """
    if m.member:
        if m.valid_until is not None:
            return max(1, to_ms(m.valid_until)) if rules.valid_until else 0
        days = rules.external_days if namespace != PLATFORM_NAMESPACE else 0
    else:
        days = rules.exited_days
    return max(to_ms(m.since), m.received_ms) + days * _DAY_MS if days else 0


def ends(moved: Sequence[Moved], memberships: Memberships, rules: Lifetimes) -> list[int]:
    """When memberships that changed leave or are removed by themselves, if ever."""
    found: list[int] = []
    for change in moved:
        namespace = change.namespace
        segments = memberships.get(namespace)
        m = segments.get(change.segment_id) if segments is not None else None
        if m is not None and (m.valid_until is not None or not m.member or namespace != PLATFORM_NAMESPACE):
            at_ms = end_ms(namespace, m, rules)
            if at_ms:
                found.append(at_ms)
    return found


def arrived(changes: Sequence[MembershipChange], now_ms: int, rules: Lifetimes) -> Sequence[MembershipChange]:
    """What an update states, with memberships past their validUntil exited (E1); the same object where none is."""
    if not rules.valid_until:
        return changes
    now = ""
    late = False
    for change in changes:
        if change.valid_until is not None and change.member:
            now = now or from_ms(now_ms)
            late = late or change.valid_until <= now
    if not late:
        return changes
    return [
        _left(change.namespace, change.segment_id, change.since, change.valid_until)
        if change.member and change.valid_until is not None and change.valid_until <= now
        else change
        for change in changes
    ]


def _left(namespace: str, segment_id: str, since: str | None, valid_until: str) -> MembershipChange:
    return MembershipChange(namespace, segment_id, False, max(valid_until, since or valid_until), valid_until)


def run_out(memberships: Memberships, now_ms: int, rules: Lifetimes) -> tuple[list[MembershipChange], Memberships]:
    """What has run out by now.

    Returns:
        The members that leave, with the time at which they do; and the memberships without the exited ones that
        are removed (the same object when none is).
    """
    leaving: list[MembershipChange] = []
    kept = memberships
    for namespace, segments in memberships.items():
        for segment_id, m in segments.items():
            at_ms = end_ms(namespace, m, rules)
            if not at_ms or at_ms > now_ms:
                continue
            if not m.member:
                kept = _without(kept, namespace, segment_id)
            elif m.valid_until is not None:
                leaving.append(_left(namespace, segment_id, m.since, m.valid_until))
            else:
                leaving.append(MembershipChange(namespace, segment_id, False, from_ms(at_ms)))
    return leaving, kept


def _without(memberships: Memberships, namespace: str, segment_id: str) -> Memberships:
    left = {one: m for one, m in memberships[namespace].items() if one != segment_id}
    if left:
        return {**memberships, namespace: left}
    return {one: segments for one, segments in memberships.items() if one != namespace}


def has_run_out(memberships: Memberships, now_ms: int, rules: Lifetimes) -> bool:
    """Whether a tick now would do anything."""
    return any(
        0 < end_ms(namespace, m, rules) <= now_ms
        for namespace, segments in memberships.items()
        for m in segments.values()
    )
