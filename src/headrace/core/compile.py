"""Compile a flow of the Flow Service shape: everything that is wrong with it at once, or the compiled flow.

Shapes: Flow Service API, ``POST /flows`` and the selectors that ``PATCH /flows/{id}`` adds. Our own settings sit in
``transformations[0].params.headrace``. What AEP knows for batch destinations only is accepted and does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from headrace.errors import Mistake

from . import canonical as _canonical
from . import flow as _flow
from . import flow_settings, selectors
from .report import Report, shown

FLOW_SPEC_ID: Final = "71471eba-b620-49e4-90fd-23f1fa0174d8"
FLOW_SPEC_VERSION: Final = "1.0"

READ_ONLY: Final = frozenset(
    (
        *("createdAt", "updatedAt", "createdBy", "updatedBy", "createdClient", "updatedClient", "sandboxId"),
        *("sandboxName", "imsOrgId", "version", "etag", "inheritedAttributes", "providerRefId", "providerId"),
    )
)
"""Members that an answer of the API holds for any entity: accepted, so that it can be pasted, and without effect."""

FLOW_KEYS: Final = (
    *("id", "name", "description", "state", "flowSpec", "sourceConnectionIds", "targetConnectionIds"),
    "transformations",
)
FLOW_READ_ONLY: Final = READ_ONLY | {"runs", "lastOperation", "lastRunDetails", "scheduleParams", "policy"}

RECOMMENDED_SEGMENTS: Final = 250
RECOMMENDED_ATTRIBUTES: Final = 50
"""Soft limits of AEP for a flow (destinations guardrails)."""


class Compilation(msgspec.Struct, frozen=True):
    """What came of compiling one flow.

    Attributes:
        flow: The compiled flow, or None when there are mistakes.
        mistakes: Everything that is wrong; empty when the flow is there.
        warnings: What is accepted, but is hardly meant.
    """

    flow: _flow.CompiledFlow | None
    mistakes: list[Mistake]
    warnings: list[str]


def compile_flow(
    flow: Mapping[str, Any],
    *,
    segments: Mapping[str, _flow.Segment] | None,
    params: Mapping[str, Any],
    spec_id: str,
    place: str,
) -> Compilation:
    """Compile one flow.

    Args:
        flow: The resource, as parsed from JSON or YAML.
        segments: Audience id to audience, where the mapped ones must be; None accepts any id.
        params: Parameters of the target connection, checked against its spec.
        spec_id: Connection spec id of the destination.
        place: Where the flow stands: ``flows[0]``.
    """
    report = Report()
    report.members(flow, place, FLOW_KEYS, FLOW_READ_ONLY)
    if flow.get("policy"):
        report.warn(f"{place}.policy", "usage policies are not enforced")
    flow_id = report.identifier(flow, "id", place)
    name = report.text(flow, "name", place, required=True)
    report.text(flow, "description", place)
    paused = _paused(report, flow, place)
    _check_spec(report, flow, place)
    at, mapping = _transformation(report, flow, place)
    mapped = selectors.segments(report, mapping.get("segmentSelectors"), f"{at}.segmentSelectors", segments)
    paths = selectors.attributes(report, mapping.get("profileSelectors"), f"{at}.profileSelectors")
    settings = flow_settings.read(report, mapping.get("headrace"), f"{at}.headrace")
    if report.mistakes:
        return Compilation(None, report.mistakes, report.warnings)
    _advise(report, at, mapped, paths)
    compiled = _canonical.build(
        id=flow_id,
        name=name,
        spec_id=spec_id,
        segments=mapped,
        paths=paths,
        include_names=params.get("includeSegmentNames") is True,
        include_timestamps=params.get("includeSegmentTimestamps") is True,
        paused=paused,
        **settings,
    )
    return Compilation(compiled, [], report.warnings)


def _paused(report: Report, flow: Mapping[str, Any], place: str) -> bool:
    state = report.text(flow, "state", place)
    if state.lower() not in ("", "enabled", "disabled"):
        report.mistake(f"{place}.state", f"{shown(flow['state'])} is not known", "enabled, disabled")
    return state.lower() == "disabled"


def _check_spec(report: Report, flow: Mapping[str, Any], place: str) -> None:
    at = f"{place}.flowSpec"
    given = flow.get("flowSpec")
    if given is None:
        report.mistake(at, "is missing", f"id {FLOW_SPEC_ID}, version {FLOW_SPEC_VERSION}")
        return
    spec = report.members(given, at, ("id", "version"))
    spec_id = report.text(spec, "id", at, required=True) if isinstance(given, Mapping) else ""
    if spec_id and spec_id != FLOW_SPEC_ID:
        report.mistake(f"{at}.id", f"{shown(spec['id'])} is not a known flow spec", FLOW_SPEC_ID)
    # An unquoted 1.0 in YAML is a number and means the same.
    if str(spec.get("version", FLOW_SPEC_VERSION)) != FLOW_SPEC_VERSION:
        report.mistake(f"{at}.version", f"{shown(spec['version'])} is not known", FLOW_SPEC_VERSION)


def _transformation(report: Report, flow: Mapping[str, Any], place: str) -> tuple[str, Mapping[str, Any]]:
    """The place and the members of the parameters of the one transformation."""
    found = report.elements(flow, "transformations", place, required=True)
    if len(found) > 1:
        report.mistake(f"{place}.transformations[1]", "a flow has one transformation")
    at = f"{place}.transformations[0]"
    known = report.members(found[0] if found else None, at, ("name", "params"))
    report.text(known, "name", at)
    at += ".params"
    return at, report.members(known.get("params"), at, ("segmentSelectors", "profileSelectors", "headrace"))


def _advise(report: Report, at: str, mapped: dict[str, dict[str, _flow.MappedSegment]], paths: list[str]) -> None:
    count = sum(len(ids) for ids in mapped.values())
    if not count:
        report.warn(f"{at}.segmentSelectors", "no audience is mapped, so the flow exports nothing")
    if count > RECOMMENDED_SEGMENTS:
        report.warn(
            f"{at}.segmentSelectors", f"{count} audiences are mapped; AEP's guardrail is {RECOMMENDED_SEGMENTS}"
        )
    if len(paths) > RECOMMENDED_ATTRIBUTES:
        report.warn(
            f"{at}.profileSelectors",
            f"{len(paths)} attributes are mapped; AEP's guardrail is {RECOMMENDED_ATTRIBUTES}",
        )
