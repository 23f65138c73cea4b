"""The parts of an explanation, as values: what programs read with ``--json``, and pages are drawn from."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headrace.core.envelope import Envelope
from headrace.core.flow import CompiledFlow
from headrace.core.model import Cause, Export
from headrace.core.paths import read
from headrace.core.times import from_ms
from headrace.core.update import Update
from headrace.runtimes.embedded.past import Line, Moment
from headrace.state import records

KINDS: Final = ("update", "tick", "backfill", "delete", "replay", "repeat", "erased", "unlink")
"""Names of the kinds of inputs, by their number in the journal."""


class InputFacts(msgspec.Struct):
    """The input that caused it.

    Attributes:
        ordinal: Its ordinal.
        time: When its batch was decided.
        kind: Of ``KINDS``.
        source: Id of its source.
        content: As it came in.
        attributes: Top-level attributes that it stated.
        memberships: Audiences that it stated, as ``namespace/id``.
    """

    ordinal: int
    time: str
    kind: str
    source: str
    content: str
    attributes: list[str]
    memberships: list[str]


class MembershipFacts(msgspec.Struct):
    """One audience before and after: realized, exited, or none where there was no membership."""

    audience: str
    before: str
    after: str
    since: str
    valid_until: str | None


class ProfileFacts(msgspec.Struct):
    """The profile.

    Attributes:
        id: Its id; "" when none is known.
        made: The input made it.
        version_before: 0 when the input made it; None when not known.
        version_after: None when not known.
        joined: Ids of profiles that the input joined into it.
        identities_added: As ``namespace:id``; None when not known.
        memberships: Sorted; None when not known.
        deleted: The input made it forgotten.
    """

    id: str
    made: bool | None = None
    version_before: int | None = None
    version_after: int | None = None
    joined: list[str] = []
    identities_added: list[str] | None = None
    memberships: list[MembershipFacts] | None = None
    deleted: bool = False


class FlowFacts(msgspec.Struct):
    """One flow's decision, and what became of its export.

    Attributes:
        id: Flow id.
        name: On screen.
        configuration: Version in force.
        audiences: Mapped, as ``namespace/id``; with their name where known.
        attributes: Mapped paths.
        settings: As in the configuration file.
        consent: path, allowed and, where known, what the profile says afterwards; None without one.
        exported: Whether an export was made.
        reason: Why not; a code of ``core.reasons.HELD``.
        meaning: The code in words.
        cause: Why it was; None when not known.
        export_id: Its id.
        seq: Its number among the flow's exports about the profile.
        message: As it was sent; None when not known.
        partition_key: Its partition key; None when not known.
        state: delivered, dead-letter, pending, or unknown.
        shard: Where it was written, or which shard refused it.
        sequence: Its sequence number there.
        attempts: Writes.
        made: When.
        settled: When its outcome was stored.
        code: Why it was refused.
        detail: The destination's words.
        letter: Id of its dead letter.
    """

    id: str
    name: str
    configuration: str
    audiences: dict[str, str]
    attributes: list[str]
    settings: dict[str, Any]
    consent: dict[str, Any] | None
    exported: bool
    reason: str = ""
    meaning: str = ""
    cause: Cause | None = None
    export_id: str = ""
    seq: int | None = None
    message: str | None = None
    partition_key: str | None = None
    state: str = ""
    shard: str = ""
    sequence: str = ""
    attempts: int | None = None
    made: str = ""
    settled: str = ""
    code: str = ""
    detail: str = ""
    letter: str = ""


class Explanation(msgspec.Struct):
    """The answer.

    Attributes:
        input: None when the journal no longer holds it.
        profile: The profile.
        flows: The one asked for, or all.
        unknown: What cannot be told, and why, in sentences.
    """

    input: InputFacts | None
    profile: ProfileFacts
    flows: list[FlowFacts]
    unknown: list[str]


def of_input(line: Line, moment: Moment | None) -> InputFacts:
    """The input, as it came in and as it was understood."""
    change = moment.change if moment is not None else None
    update = change if isinstance(change, Update) else None
    command = line.kind not in (records.UPDATE, records.REPEAT, records.ERASED)
    body = msgspec.json.encode(msgspec.msgpack.decode(line.body)) if command else line.body
    return InputFacts(
        line.ordinal, from_ms(line.block.now_ms), KINDS[line.kind], line.source, body.decode(),
        sorted(update.attributes) if update else [],
        sorted(f"{m.namespace}/{m.segment_id}" for m in update.memberships) if update else [],
    )  # fmt: skip


def of_profile(line: Line, profile_id: str, moment: Moment | None) -> ProfileFacts:
    """The profile before and after; little more than its id where the journal does not tell."""
    if moment is None:
        return ProfileFacts(profile_id, joined=line.absorbed)
    before, after = moment.before, moment.after
    had = {f"{n}:{i}" for n, ids in before.identities.items() for i in ids} if before else set()
    has = {f"{n}:{i}" for n, ids in after.identities.items() for i in ids} if after else set()
    return ProfileFacts(
        profile_id, before is None, before.version if before else 0, after.version if after else None,
        line.absorbed, sorted(has - had), _memberships(before, after), after is None and before is not None,
    )  # fmt: skip


def _memberships(before: Envelope | None, after: Envelope | None) -> list[MembershipFacts]:
    def states(profile: Envelope | None) -> dict[str, Any]:
        every = profile.memberships.items() if profile else ()
        return {f"{namespace}/{segment_id}": m for namespace, ids in every for segment_id, m in ids.items()}

    was, now = states(before), states(after)
    facts = []
    for audience in sorted(was | now):
        shown = now.get(audience) or was[audience]
        facts.append(
            MembershipFacts(
                audience, _status(was.get(audience)), _status(now.get(audience)), shown.since, shown.valid_until
            )
        )
    return facts


def _status(membership: Any) -> str:
    if membership is None:
        return "none"
    return "realized" if membership.member else "exited"


def of_flow(flow: CompiledFlow, version: str, *, exported: bool, envelope: Envelope | None) -> FlowFacts:
    """A flow as it was in force."""
    consent: dict[str, Any] | None = None
    if flow.consent is not None:
        consent = {"path": ".".join(flow.consent.steps), "allowed": list(flow.consent.allowed)}
        if envelope is not None:
            said = read(flow.consent.steps, envelope.attributes)
            consent["says"] = said if type(said) in (str, bool, int, float) else None
    key = flow.partition_key
    rule = {"identity": f"identity:{key.namespace}", "attribute": f"attribute:{'.'.join(key.steps)}"}
    return FlowFacts(
        flow.id,
        flow.name,
        version,
        {f"{n}/{i}": segment.name for n, ids in flow.segments.items() for i, segment in ids.items()},
        list(flow.paths),
        {
            "state": "disabled" if flow.paused else "enabled",
            "statusModel": flow.status_model,
            "membershipScope": flow.membership_scope,
            "triggers": {
                "segment": flow.trigger_segment,
                "identity": flow.trigger_identity,
                "attribute": flow.trigger_attribute,
            },
            "sameValue": flow.same_value,
            "metadata": flow.metadata,
            "partitionKey": rule.get(key.kind, key.kind),
            "deliver": flow.deliver,
            "pauseMode": flow.pause_mode,
            "ordering": flow.ordering,
            "onDelete": flow.on_delete,
            "overflow": flow.overflow,
        },
        consent,
        exported,
    )


def add_export(facts: FlowFacts, export: Export) -> None:
    """Fill in what the export itself tells."""
    facts.export_id, facts.seq, facts.cause = export.export_id, export.seq, export.cause
    facts.message, facts.partition_key, facts.made = export.data.decode(), export.key, from_ms(export.made_ms)
