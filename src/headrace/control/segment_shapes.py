"""How an audience looks from outside: as a segment definition and as an audience (Segmentation Service API)."""

from __future__ import annotations

from typing import Any, Final

from headrace.core.compile import READ_ONLY
from headrace.core.flow import PLATFORM_NAMESPACE

from .access import Caller
from .resources import Resource

ORIGINS: Final = ("REAL_TIME_CUSTOMER_PROFILE", "CUSTOM_UPLOAD", "AUDIENCE_ORCHESTRATION", "AUDIENCE_MANAGER")
PLATFORM_SHOWN: Final = "AEPSegments"
"""What the platform's own namespace is called in the audiences API; messages have ``ups``."""

DEFINITION_READ_ONLY: Final = READ_ONLY | {
    *("profileInstanceId", "sandbox", "creationTime", "updateEpoch", "updateTime", "createEpoch", "type", "_etag"),
    *("dependents", "dependencies", "isSystem", "definedOn"),
}
AUDIENCE_READ_ONLY: Final = DEFINITION_READ_ONLY - {"type"}
_POLICY: Final = {"excludeOptOut": True}


def audience_type(resource: Resource) -> str:
    """SegmentDefinition, or ExternalAudience for one without an expression."""
    return "SegmentDefinition" if "expression" in resource.body else "ExternalAudience"


def definition(resource: Resource, caller: Caller) -> dict[str, Any]:
    """An audience as a segment definition."""
    body = resource.body
    shown: dict[str, Any] = {
        "id": resource.id,
        "schema": body.get("schema") or {"name": "_xdm.context.profile"},
        "ttlInDays": body.get("ttlInDays", 30),
        "profileInstanceId": "ups",
        "imsOrgId": resource.scope.org,
        "sandbox": {
            "sandboxId": caller.sandbox_id,
            "sandboxName": resource.scope.sandbox,
            "type": "production",
            "default": resource.scope.sandbox == "prod",
        },
        "name": resource.name,
        "description": body.get("description", ""),
        "namespace": body["namespace"],
        "evaluationInfo": body.get("evaluationInfo", {}),
        "dataGovernancePolicy": body.get("dataGovernancePolicy", _POLICY),
        "creationTime": resource.created_ms,
        "updateEpoch": resource.updated_ms // 1000,
        "updateTime": resource.updated_ms,
        "createdBy": resource.created_by,
    }
    for name in ("expression", "mergePolicyId"):
        if name in body:
            shown[name] = body[name]
    return shown


def audience(resource: Resource, caller: Caller) -> dict[str, Any]:
    """An audience as the audiences API has it."""
    body = resource.body
    namespace = body["namespace"]
    return {
        **definition(resource, caller),
        "audienceId": resource.id,
        "type": audience_type(resource),
        "originName": body.get("originName", ORIGINS[0]),
        "namespace": PLATFORM_SHOWN if namespace == PLATFORM_NAMESPACE else namespace,
        "lifecycleState": resource.state,
        "labels": body.get("labels", []),
        "createEpoch": resource.created_ms // 1000,
        "_etag": resource.etag,
        "dependents": [],
        "dependencies": [],
        "isSystem": False,
    }
