"""Connection specs and flow specs as the Flow Service serves them, drawn from what destinations say of themselves.

Ids are facts of Adobe Experience Platform (tutorial "Connect to streaming destinations", read 2026-11-24), so that
what was written for it finds them here. Specs are data of the product: nobody makes or changes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from headrace.core.compile import FLOW_SPEC_ID, FLOW_SPEC_VERSION
from headrace.destinations.base import AuthSpec, Parameter, Spec

PROFILE_SERVICE_ID: Final = "8a9c3494-9708-43d7-ae3f-cda01e5030e1"
"""The profile store, where every flow begins."""
PROVIDER_ID: Final = "521eee4d-8cbe-4906-bb48-fb6bd4450033"
"""Of AEP's streaming connectors."""
FLOW_SPEC_NAME: Final = "UPS to profile-based destination"

PROFILE_SERVICE: Final = Spec(
    id=PROFILE_SERVICE_ID,
    version="1.0",
    name="Profile Service",
    category="platform",
    description="The profiles that Headrace keeps; every flow begins here.",
    auth=(),
    target=(),
)


STREAMING_ID: Final = "bc7b00d6-623a-4dfc-9fdb-f1240aeadaeb"
"""An inlet of the collection: where updates are sent to by HTTP."""
STREAMING: Final = Spec(
    id=STREAMING_ID,
    version="1.0",
    name="Streaming Connection",
    category="streaming",
    description="Profile updates sent to the collection over HTTP.",
    auth=(
        AuthSpec(
            "Streaming Connection",
            "Streaming",
            (
                Parameter("sourceId", "Source id", "Any name of what sends.", required=True),
                Parameter("dataType", "Data type", "Shape of the updates.", choices=("xdm", "raw"), default="xdm"),
                Parameter("name", "Name", "Of the inlet."),
                Parameter(
                    "authenticationRequired", "Authentication", "Updates come with a token.", "boolean", default=False
                ),
            ),
        ),
    ),
    target=(),
)


class Catalog:
    """What can be connected.

    Args:
        destinations: Connection spec id to destination's description.

    Attributes:
        destinations: As given; cannot be changed.
        specs: The same with the profile store and the collection.
    """

    def __init__(self, destinations: Mapping[str, Spec]) -> None:
        self.destinations: Mapping[str, Spec] = MappingProxyType(dict(destinations))
        self.specs: Mapping[str, Spec] = MappingProxyType(
            {PROFILE_SERVICE_ID: PROFILE_SERVICE, STREAMING_ID: STREAMING, **destinations}
        )
        self._connection_specs = {
            PROFILE_SERVICE_ID: _profile_service(),
            STREAMING_ID: _streaming(),
            **{spec.id: _connection_spec(spec) for spec in destinations.values()},
        }
        self._flow_specs = {FLOW_SPEC_ID: _flow_spec(destinations)}

    def connection_specs(self) -> list[dict[str, Any]]:
        """Every connection spec, in the order of the catalog; not to be changed."""
        return list(self._connection_specs.values())

    def connection_spec(self, spec_id: str) -> dict[str, Any] | None:
        """One connection spec, or None."""
        return self._connection_specs.get(spec_id)

    def flow_specs(self) -> list[dict[str, Any]]:
        """Every flow spec; not to be changed."""
        return list(self._flow_specs.values())

    def flow_spec(self, spec_id: str) -> dict[str, Any] | None:
        """One flow spec, or None."""
        return self._flow_specs.get(spec_id)

    def secret_names(self, spec_id: str) -> frozenset[str]:
        """Names of the parameters of a base connection that are secret."""
        spec = self.specs.get(spec_id)
        ways = spec.auth if spec else ()
        return frozenset(each.name for way in ways for each in way.parameters if each.secret)


def _profile_service() -> dict[str, Any]:
    spec = PROFILE_SERVICE
    return {
        **_head(spec),
        "type": "UPS",
        "attributes": {"category": spec.category, "isSource": True, "connectorName": spec.name},
        "sourceSpec": {"name": spec.name, "type": "UPS", "spec": schema(()), "attributes": {}},
        "authSpec": [],
        "permissionsInfo": _permissions(),
    }


def _streaming() -> dict[str, Any]:
    spec = STREAMING
    return {
        **_head(spec),
        "type": spec.category,
        "attributes": {"category": spec.category, "isSource": True, "connectorName": spec.name},
        "sourceSpec": {"name": spec.name, "type": spec.category, "spec": schema(()), "attributes": {}},
        "authSpec": [_auth_spec(way) for way in spec.auth],
        "permissionsInfo": _permissions(),
    }


def _connection_spec(spec: Spec) -> dict[str, Any]:
    return {
        **_head(spec),
        "type": spec.category,
        "attributes": {"category": spec.category, "isSource": False, "connectorName": spec.name},
        "authSpec": [_auth_spec(way) for way in spec.auth],
        "targetSpec": {
            "name": spec.name,
            "type": spec.category,
            "spec": schema(spec.target),
            "attributes": {
                "uiAttributes": {
                    "isDestination": True,
                    "category": spec.category,
                    "label": spec.name,
                    "description": spec.description,
                    "frequency": {"key": "Streaming"},
                }
            },
        },
        "permissionsInfo": _permissions(),
        # Ours: what the service behind the destination asks for and allows.
        "headrace": {
            "permissions": list(spec.permissions),
            "limits": [
                {"name": each.name, "value": each.value, "unit": each.unit, "source": each.source}
                for each in spec.limits
            ],
        },
    }


def _head(spec: Spec) -> dict[str, Any]:
    return {
        "id": spec.id,
        "name": spec.name,
        "description": spec.description,
        "providerId": PROVIDER_ID,
        "version": spec.version,
    }


def _auth_spec(way: AuthSpec) -> dict[str, Any]:
    return {"name": way.name, "type": way.type, "spec": schema(way.parameters)}


def schema(parameters: tuple[Parameter, ...]) -> dict[str, Any]:
    """JSON Schema of an object with these parameters; secret ones have the format ``password``."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {each.name: _property(each) for each in parameters},
        "required": [each.name for each in parameters if each.required],
        "additionalProperties": False,
    }


def _property(parameter: Parameter) -> dict[str, Any]:
    described: dict[str, Any] = {
        "type": parameter.type,
        "title": parameter.title,
        "description": parameter.help,
    }
    if parameter.secret:
        described |= {"format": "password", "writeOnly": True}
    if parameter.default is not None:
        described["default"] = parameter.default
    if parameter.choices:
        described["enum"] = list(parameter.choices)
    if parameter.pattern:
        # A pattern of JSON Schema matches anywhere; ours match whole.
        described["pattern"] = f"^(?:{parameter.pattern})$"
    if parameter.least is not None:
        described["minimum"] = parameter.least
    if parameter.most is not None:
        described["maximum"] = parameter.most
    return described


def _permissions() -> dict[str, Any]:
    return {
        "view": [{"@type": "lowLevel", "name": "Destinations", "permissions": ["read"]}],
        "manage": [{"@type": "lowLevel", "name": "Destinations", "permissions": ["write"]}],
    }


def _flow_spec(destinations: Mapping[str, Spec]) -> dict[str, Any]:
    return {
        "id": FLOW_SPEC_ID,
        "name": FLOW_SPEC_NAME,
        "providerId": PROVIDER_ID,
        "version": FLOW_SPEC_VERSION,
        "sourceConnectionSpecIds": [PROFILE_SERVICE_ID],
        "targetConnectionSpecIds": list(destinations),
        "transformationSpecs": [
            {
                "name": "GeneralTransform",
                "spec": {
                    "$schema": "http://json-schema.org/draft-07/schema#",
                    "type": "object",
                    "properties": {
                        "segmentSelectors": {"type": "object"},
                        "profileSelectors": {"type": "object"},
                        "headrace": {"type": "object"},
                    },
                },
            }
        ],
        "scheduleSpec": {},
        "attributes": {
            "isDestinationFlow": True,
            "frequency": {"key": "Streaming"},
            "flowSpecCategory": "Destination",
        },
    }
