"""A destination and a configuration for the tests of this room."""

from __future__ import annotations

from typing import Any, Final

from headrace.destinations.base import TARGET_TOGGLES, AuthSpec, Parameter, Spec

SPEC: Final = Spec(
    id="spec-1",
    version="1.0",
    name="River",
    category="cloudStorage",
    description="For tests.",
    auth=(
        AuthSpec(
            "Keys",
            "KeyBased",
            (
                Parameter("keyId", "Key id", "Which key.", required=True),
                Parameter("secretKey", "Secret key", "Its secret.", required=True, secret=True, pattern="[a-z]+"),
                Parameter("region", "Region", "Where.", required=True, pattern="[a-z]+-[0-9]"),
                Parameter("token", "Token", "Temporary.", secret=True),
            ),
        ),
        AuthSpec("None", "None", ()),
    ),
    target=(
        Parameter("stream", "Stream", "Which one.", required=True),
        *TARGET_TOGGLES,
        Parameter("most", "Most", "A request.", "integer", default=500, least=1, most=500),
        Parameter("mode", "Mode", "How.", choices=("fast", "safe")),
    ),
)
OPEN: Final = Spec(
    id="spec-2",
    version="1.0",
    name="Pond",
    category="streaming",
    description="For tests, without authentication.",
    auth=(AuthSpec("Anyone", "None", ()),),
    target=(Parameter("pool", "Pool", "Which one.", "integer", least=1), *TARGET_TOGGLES),
)
SPECS: Final = {SPEC.id: SPEC, OPEN.id: OPEN}


def root() -> dict[str, Any]:
    """A configuration without mistakes or warnings, to be changed at will."""
    return {
        "settings": {"mergeBy": "timestamp", "maxIdentities": 7, "unstitchableNamespaces": ["IP"]},
        "segments": [{"id": "S", "name": "Gold", "namespace": "ups", "createdAt": 1767225600000}],
        "connections": [
            {
                "id": "base",
                "name": "Account",
                "connectionSpec": {"id": "spec-1", "version": "1.0"},
                "auth": {"specName": "Keys", "params": {"keyId": "k", "secretKey": "hidden", "region": "eu-1"}},
            }
        ],
        "targetConnections": [
            {
                "id": "target",
                "name": "Stream",
                "baseConnectionId": "base",
                "connectionSpec": {"id": "spec-1", "version": "1.0"},
                "params": {"stream": "leads", "region": "eu-1", "includeSegmentNames": True},
            }
        ],
        "flows": [
            {
                "id": "flow",
                "name": "Flow",
                "flowSpec": {"id": "71471eba-b620-49e4-90fd-23f1fa0174d8", "version": "1.0"},
                "sourceConnectionIds": ["profiles"],
                "targetConnectionIds": ["target"],
                "transformations": [
                    {
                        "name": "GeneralTransform",
                        "params": {
                            "segmentSelectors": {"selectors": [{"type": "PLATFORM_SEGMENT", "value": {"id": "S"}}]},
                            "profileSelectors": {
                                "selectors": [
                                    {"type": "JSON_PATH", "value": {"operator": "EXISTS", "path": "person.name"}}
                                ]
                            },
                            "headrace": {"metadata": True, "consent": {"path": "consents.x", "allowed": ["y"]}},
                        },
                    }
                ],
            }
        ],
    }
