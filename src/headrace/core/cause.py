"""Why a flow exports what an input did to a profile, or why it does not: the triggers of spec 1.3, and consent.

Holds always (tests/core/test_cause.py):
    W1  A flow exports only while the profile is in one of its mapped audiences, or leaves one by this input.
    W2  With a consent: nothing is exported without it, but one message when it is withdrawn from a flow that
        was told of the profile as a member. Consent given is entering, for that flow.
"""

from __future__ import annotations

import functools
from typing import Any

from headrace.core import message
from headrace.core.envelope import Envelope
from headrace.core.flow import CompiledFlow, Consent, MappedSegment
from headrace.core.model import NOTHING, Cause
from headrace.core.paths import PathMistake, parse, read, written
from headrace.core.prepared import PreparedFlow
from headrace.core.view import View

WITHDRAWN = "consent"
"""The trigger of the one export that tells of a consent withdrawn."""


def cause_of(view: View, flow: PreparedFlow, mapped: message.Mapped) -> Cause | str:
    """Why this flow exports, or the code of ``reasons.HELD`` why it does not.

    Args:
        view: What the input did.
        flow: Whose question it is.
        mapped: Its audiences that count now.
    """
    joined, left = _crossed(view, mapped) if view.moved else (NOTHING, NOTHING)
    paths = written(flow.tree, view.patch) if view.patch else NOTHING
    relevant = bool(joined or left or view.grew or paths)
    if flow.consent is not None:
        if not consents(flow.consent, view.after.attributes):
            return _without_consent(view, flow, mapped, relevant=relevant)
        if not consents(flow.consent, view.before.attributes):
            joined = members(view.after, mapped)
            relevant = relevant or bool(joined)
    if not relevant:
        return "no-relevant-change"
    if flow.skips:
        return "paused"
    member = is_member(view.after, mapped)
    if not member and not joined and not left:
        return "not-a-member"
    triggers, reason = _triggers(view, flow, paths, crossed=bool(joined or left), member=member)
    return Cause(view.kind, triggers, paths, joined, left, NOTHING) if triggers else reason


def _crossed(view: View, mapped: message.Mapped) -> tuple[list[str], list[str]]:
    """Mapped audiences entered and left by this input, as ``namespace/id``."""
    joined, left = NOTHING, NOTHING
    for m in view.moved:
        of_flow = mapped.get(m.namespace)
        if of_flow and m.segment_id in of_flow:
            if m.after and not m.before:
                joined = [*joined, f"{m.namespace}/{m.segment_id}"]
            elif m.before and not m.after:
                left = [*left, f"{m.namespace}/{m.segment_id}"]
    return joined, left


def _triggers(
    view: View, flow: PreparedFlow, paths: list[str], *, crossed: bool, member: bool
) -> tuple[list[str], str]:
    """The triggers that fire, and the reason where none does."""
    triggers = ["segment"] if crossed and flow.trigger_segment else []
    if not flow.deliver_all or not member:
        return triggers, "trigger-off"
    if view.grew and flow.trigger_identity:
        triggers.append("identity")
    if paths and flow.trigger_attribute:
        if not flow.same_value and not _values_differ(view, paths):
            return triggers, "same-value"
        triggers.append("attribute")
    return triggers, "trigger-off"


def _without_consent(view: View, flow: PreparedFlow, mapped: message.Mapped, *, relevant: bool) -> Cause | str:
    """A consent just withdrawn sends one exit message, if the flow was told of a member before; nothing after."""
    told = [
        side
        for side in view.sides
        if flow.id in side.marks and consents(flow.consent, side.attributes) and is_member(side, mapped)
    ]
    if not told:
        return WITHDRAWN if relevant else "no-relevant-change"
    # Neither a pause nor a backlog holds this back: what waits before it is given up.
    return Cause(view.kind, [WITHDRAWN], [], [], sorted({name for side in told for name in members(side, mapped)}))


def consents(consent: Consent | None, attributes: dict[str, Any]) -> bool:
    """Whether a profile says what a flow's consent asks for; true without one."""
    if consent is None:
        return True
    said = read(consent.steps, attributes)
    return any(said == value and type(said) is type(value) for value in consent.allowed)


def is_member(profile: Envelope, mapped: message.Mapped) -> bool:
    """Whether a profile is in any of the audiences."""
    for namespace, segments in profile.memberships.items():
        of_flow = mapped.get(namespace)
        if of_flow:
            for segment_id, m in segments.items():
                if m.member and segment_id in of_flow:
                    return True
    return False


def members(profile: Envelope, mapped: message.Mapped) -> list[str]:
    """The audiences that a profile is in, as ``namespace/id``."""
    return [
        f"{namespace}/{segment_id}"
        for namespace, segments in profile.memberships.items()
        for segment_id, m in segments.items()
        if m.member and segment_id in mapped.get(namespace, ())
    ]


@functools.lru_cache(maxsize=4096)
def _steps(path: str) -> tuple[str, ...]:
    steps = parse(path)
    return () if isinstance(steps, PathMistake) else steps


def _values_differ(view: View, paths: list[str]) -> bool:
    for path in paths:
        before, after = read(_steps(path), view.before.attributes), read(_steps(path), view.after.attributes)
        # 1, 1.0 and true are equal to Python and different in JSON: the text decides.
        if before is not after and (before != after or repr(before) != repr(after)):
            return True
    return False


def active(flow: CompiledFlow, now_ms: int) -> dict[str, dict[str, MappedSegment]]:
    """The mapped audiences whose start and end dates hold now."""
    return {
        namespace: {segment_id: s for segment_id, s in segments.items() if s.active(now_ms)}
        for namespace, segments in flow.segments.items()
    }
