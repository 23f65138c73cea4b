"""What an audience may be, and making and changing one within a use case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from headrace.core.flow import PLATFORM_NAMESPACE
from headrace.core.report import Report, shown

from . import expressions, patch
from .access import Caller
from .problems import refuse
from .resources import Kind, Resource
from .segment_shapes import AUDIENCE_READ_ONLY, DEFINITION_READ_ONLY, ORIGINS, PLATFORM_SHOWN, audience_type
from .service import Change, body_of, check_if_match

SEGMENT_KEYS: Final = (
    *("id", "name", "description", "namespace", "schema", "expression", "mergePolicyId", "ttlInDays"),
    *("evaluationInfo", "dataGovernancePolicy", "labels", "audienceId", "originName", "lifecycleState"),
)
_TYPES: Final = ("SegmentDefinition", "ExternalAudience")
_LIFE: Final = ("published", "draft", "inactive", "archived")
_EVALUATION: Final = {"batch": {"enabled": False}, "continuous": {"enabled": True}, "synchronous": {"enabled": False}}


def kind_of(document: dict[str, Any]) -> bool:
    """True when a new audience is an external one; takes ``type`` out and turns the shown namespace into ours.

    Raises:
        UseCaseError: 3000-400.
    """
    kind = document.pop("type", None)
    if kind not in (None, *_TYPES):
        report = Report()
        report.mistake("type", f"{shown(kind)} is not known", ", ".join(_TYPES))
        refuse(report.mistakes)
    if document.get("namespace") == PLATFORM_SHOWN:
        document["namespace"] = PLATFORM_NAMESPACE
    return kind == _TYPES[1] or (kind is None and document.get("expression") is None)


def created(change: Change, document: dict[str, Any], *, external: bool) -> Resource:
    """Check and keep a new audience.

    Raises:
        UseCaseError: 3000-400 or 3003-409.
    """
    own_id = document.pop("id", None) or document.pop("audienceId", None)
    document.pop("audienceId", None)
    report = Report()
    if own_id is not None:
        report.identifier({"id": own_id}, "id", "")
    _check(report, document, external=external)
    refuse(report.mistakes)
    document.setdefault("namespace", PLATFORM_NAMESPACE)
    document.setdefault("originName", ORIGINS[1] if external else ORIGINS[0])
    if not external:
        document.setdefault("evaluationInfo", _EVALUATION)
    state = document.pop("lifecycleState", None) or "published"
    return change.insert(
        Resource(
            kind=Kind.SEGMENT,
            id=str(own_id or change.control.new_id()),
            scope=change.caller.scope,
            state=state,
            body=document,
            unique=_unique(change.caller, document),
        )
    )


def updated(change: Change, segment_id: str, body: Any, if_match: str | None) -> Resource:
    """Check and keep a changed audience.

    Raises:
        UseCaseError: 1101-404, 1404-412, 1405-400, 1455-400, 3000-400 or 3003-409.
    """
    old = change.found(Kind.SEGMENT, segment_id)
    check_if_match(change.control, old, if_match)
    # A patch may replace what is shown without being stored.
    before = {"description": "", **old.body, "lifecycleState": old.state}
    if isinstance(body, list):
        document = body_of(patch.apply(before, patch.operations(body)), SEGMENT_KEYS)
    else:
        document = {**before, **body_of(body, (*SEGMENT_KEYS, "type"), AUDIENCE_READ_ONLY | DEFINITION_READ_ONLY)}
    kind = document.pop("type", None)
    namespace = document.get("namespace")
    if namespace == PLATFORM_SHOWN:
        document["namespace"] = namespace = PLATFORM_NAMESPACE
    report = Report()
    for name in ("id", "audienceId"):
        if document.pop(name, old.id) != old.id:
            report.mistake(name, "does not change", old.id)
    if namespace != old.body["namespace"]:
        report.mistake("namespace", "does not change: memberships are filed under it", old.body["namespace"])
    if kind is not None and kind != audience_type(old):
        report.mistake("type", "does not change", audience_type(old))
    _check(report, document, external="expression" not in old.body)
    refuse(report.mistakes)
    state = document.pop("lifecycleState")
    new = msgspec.structs.replace(old, body=document, state=state, unique=_unique(change.caller, document))
    return change.replace(old, new)


def _check(report: Report, document: Mapping[str, Any], *, external: bool) -> None:
    report.text(document, "name", "", required=True)
    for name in ("description", "mergePolicyId"):
        report.text(document, name, "")
    # One of the platform's namespace without an expression is defined elsewhere, and comes with the updates.
    report.text(document, "namespace", "", required=external)
    report.choice(document, "lifecycleState", "", _LIFE)
    report.choice(document, "originName", "", ORIGINS)
    report.whole(document, "ttlInDays", "", least=1, most=36_500)
    schema = report.members(document.get("schema"), "schema", ("name",))
    report.text(schema, "name", "schema", required=document.get("schema") is not None)
    if not external:
        if document.get("schema") is None:
            report.mistake("schema", "is missing", '{"name": "_xdm.context.profile"}')
        expressions.check(report, document.get("expression"), "expression")
    elif document.get("expression") is not None:
        report.mistake("expression", "an external audience has none")
    evaluation = report.members(document.get("evaluationInfo"), "evaluationInfo", tuple(_EVALUATION))
    for way in evaluation:
        enabled = report.members(evaluation[way], f"evaluationInfo.{way}", ("enabled",))
        report.flag(enabled, "enabled", f"evaluationInfo.{way}", default=False)
    policy = report.members(document.get("dataGovernancePolicy"), "dataGovernancePolicy", ("excludeOptOut",))
    report.flag(policy, "excludeOptOut", "dataGovernancePolicy", default=True)
    for index, label in enumerate(report.elements(document, "labels", "")):
        if not isinstance(label, str):
            report.mistake(f"labels[{index}]", "must be text", "core/C1")


def _unique(caller: Caller, document: Mapping[str, Any]) -> str:
    return f"{caller.scope.org}/{caller.scope.sandbox}/{document['name']}"
