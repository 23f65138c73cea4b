"""Read our own settings of a flow: ``transformations[0].params.headrace``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from . import flow as _flow
from . import paths as _paths
from .reasons import ALERTS
from .report import Report, shown

KEYS: Final = (
    *("statusModel", "membershipScope", "triggers", "sameValue", "metadata", "partitionKey", "deliver"),
    *("pauseMode", "ordering", "consent", "onDelete", "overflow", "diskBudgetBytes", "alerts"),
)
FLOW_ALERTS: Final = tuple(kind for kind in ALERTS if kind not in ("refused-updates", "sources-held"))
LEAST_BUDGET_BYTES: Final = 1 << 20
MOST_BUDGET_BYTES: Final = 1 << 50
_PARTITION_KEYS: Final = "profileId, identity:NAMESPACE, attribute:PATH"


def read(report: Report, value: Any, place: str) -> dict[str, Any]:
    """Read the settings into the fields of ``CompiledFlow`` that they set."""
    given = report.members(value, place, KEYS)
    at = f"{place}.triggers"
    triggers = report.members(given.get("triggers"), at, ("segment", "identity", "attribute"))
    return {
        "status_model": report.choice(given, "statusModel", place, ("current", "seed")),
        "membership_scope": report.choice(given, "membershipScope", place, ("all", "mapped")),
        "trigger_segment": report.flag(triggers, "segment", at, default=True),
        "trigger_identity": report.flag(triggers, "identity", at, default=True),
        "trigger_attribute": report.flag(triggers, "attribute", at, default=True),
        "same_value": report.flag(given, "sameValue", place, default=True),
        "metadata": report.flag(given, "metadata", place, default=False),
        "partition_key": _partition_key(report, given, place),
        "deliver": report.choice(given, "deliver", place, ("all", "joinedLeft")),
        "pause_mode": report.choice(given, "pauseMode", place, ("keep", "skip")),
        "ordering": report.choice(given, "ordering", place, ("profile", "none")),
        "consent": _consent(report, given.get("consent"), f"{place}.consent"),
        "on_delete": report.choice(given, "onDelete", place, ("nothing", "exit")),
        "overflow": report.choice(given, "overflow", place, ("catch-up", "stop-sources")),
        "disk_budget_bytes": _disk_budget(report, given, place),
        "alerts": _alerts(report, given.get("alerts"), f"{place}.alerts"),
    }


def _disk_budget(report: Report, given: Mapping[str, Any], place: str) -> int:
    value = given.get("diskBudgetBytes", _flow.DISK_BUDGET_BYTES)
    if not isinstance(value, int) or isinstance(value, bool) or not LEAST_BUDGET_BYTES <= value <= MOST_BUDGET_BYTES:
        report.mistake(
            f"{place}.diskBudgetBytes", f"{shown(value)} is not allowed",
            f"whole number, {LEAST_BUDGET_BYTES} to {MOST_BUDGET_BYTES}",
        )  # fmt: skip
        return _flow.DISK_BUDGET_BYTES
    return value


def _alerts(report: Report, value: Any, place: str) -> _flow.FlowAlerts:
    given = report.members(value, place, ("lagSeconds", "skipPercent", "mute", "mailTo"))
    mute, mail_to = report.elements(given, "mute", place), report.elements(given, "mailTo", place)
    for kind in mute:
        if kind not in FLOW_ALERTS:
            report.mistake(f"{place}.mute", f"{shown(kind)} is no alert of a flow", ", ".join(FLOW_ALERTS))
    for address in mail_to:
        if not isinstance(address, str) or not re.fullmatch(r"[^@\s,<>]+@[^@\s,<>]+", address):
            report.mistake(f"{place}.mailTo", f"{shown(address)} is not an address", "as ops@example.com")
    return _flow.FlowAlerts(
        lag_s=report.whole(given, "lagSeconds", place, least=1, most=31_536_000),
        skip_percent=report.whole(given, "skipPercent", place, least=0, most=100),
        mute=tuple(map(str, mute)),
        mail_to=tuple(map(str, mail_to)) if given.get("mailTo") is not None else None,
    )


def _partition_key(report: Report, given: Mapping[str, Any], place: str) -> _flow.PartitionKey:
    text = report.text(given, "partitionKey", place)
    at = f"{place}.partitionKey"
    kind, _, rest = text.partition(":")
    if kind == "identity" and rest.strip():
        return _flow.PartitionKey(kind, namespace=rest.strip().lower())
    if kind == "attribute" and rest:
        steps = _path(report, rest, given["partitionKey"], at)
        return _flow.PartitionKey(kind, steps=steps)
    if text not in ("", "profileId"):
        report.mistake(at, f"{shown(given['partitionKey'])} is not known", _PARTITION_KEYS)
    return _flow.PartitionKey()


def _path(report: Report, text: str, given: Any, at: str) -> tuple[str, ...]:
    steps = _paths.parse(text)
    if isinstance(steps, _paths.PathMistake):
        report.mistake(at, f"{shown(given)} is not a path: at position {steps.position}, {steps.problem}")
        return ()
    return steps


def _consent(report: Report, value: Any, place: str) -> _flow.Consent | None:
    given = report.members(value, place, ("path", "allowed"))
    if not isinstance(value, Mapping):
        return None
    path = report.text(given, "path", place, required=True)
    steps = _path(report, path, given["path"], f"{place}.path") if path else ()
    allowed = report.elements(given, "allowed", place, required=True)
    if "allowed" in given and isinstance(given["allowed"], list) and not allowed:
        report.mistake(f"{place}.allowed", "is empty, so nothing would ever be exported")
    for index, one in enumerate(allowed):
        if not isinstance(one, str | bool | int | float):
            report.mistake(f"{place}.allowed[{index}]", f"must be text, a number, true or false, not {shown(one)}")
    plain = (str(one) if isinstance(one, str) else one for one in allowed)
    return _flow.Consent(steps, tuple(one for one in plain if isinstance(one, str | bool | int | float)))
