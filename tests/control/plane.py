"""A control plane for tests, with the real destinations, and bodies as the tutorial sends them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, Final

import argon2
import msgspec

from headrace.clock import Manual
from headrace.control import (
    base_connections,
    flows,
    organisations,
    segments,
    source_connections,
    target_connections,
)  # fmt: skip
from headrace.control.access import Caller, Permission, system
from headrace.control.catalog import PROFILE_SERVICE_ID, Catalog
from headrace.control.memory import MemoryStore
from headrace.control.organisations import FirstStart
from headrace.control.reach import Reach
from headrace.control.resources import Scope
from headrace.control.secrets import Sealer
from headrace.control.service import Control
from headrace.control.sign_in import FailedSignIns, Passwords, Tokens
from headrace.control.store import Store
from headrace.destinations.registry import destinations

KINESIS_ID: Final = "86043421-563b-46ec-8e6c-e23184711bf6"
MEMORY_ID: Final = "5c0a5e35-7f0e-4d41-9d1c-8f6d0b8f2a11"
FLOW_SPEC_ID: Final = "71471eba-b620-49e4-90fd-23f1fa0174d8"
ORG: Final = "ABC@HeadraceOrg"
SCOPE: Final = Scope(ORG, "prod")
SECRET: Final = "wJalr/XUtnFEMI+K7MDENG=bPxRfiCY"
START_MS: Final = 1_767_225_600_000

# As cheap as the library allows: how costly guessing is is not what these tests are about.
PASSWORDS: Final = Passwords(argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


def plane(store: Store | None = None, **fields: Any) -> Control:
    """A control plane on a store, with a clock that stands still and ids that count up."""
    numbers = itertools.count(1)
    clock = fields.pop("clock", None) or Manual(START_MS)
    sealer = fields.pop("sealer", None) or Sealer([bytes(range(32))])
    made = Control(
        store=store or MemoryStore(),
        catalog=Catalog({each.spec.id: each.spec for each in destinations().values()}),
        destinations=destinations(),
        sealer=sealer,
        tokens=Tokens(sealer.derive("tokens"), clock),
        passwords=PASSWORDS,
        sign_ins=FailedSignIns(clock),
        clock=clock,
        new_id=lambda: f"00000000-0000-4000-8000-{next(numbers):012}",
        reach=Reach(hosts=("localhost",)),
    )
    return msgspec.structs.replace(made, **fields)


def started(store: Store | None = None, **fields: Any) -> tuple[Control, FirstStart]:
    """A control plane after its first start."""
    control = plane(store, **fields)
    first = organisations.first_start(control, org=ORG)
    assert first is not None
    return control, first


def caller(permissions: Iterable[Permission] = Permission, *, sandbox: str = "prod", kind: str = "client") -> Caller:
    """Somebody with these permissions."""
    return msgspec.structs.replace(
        system(Scope(ORG, sandbox), f"id-of-{sandbox}"),
        subject="ann",
        client="key",
        kind=kind,
        permissions=frozenset(permissions),
    )


ANN: Final = caller()


def platform_body() -> dict[str, Any]:
    """A base connection of the profile store."""
    return {"name": "Profiles", "connectionSpec": {"id": PROFILE_SERVICE_ID, "version": "1.0"}}


def connection_body(**params: Any) -> dict[str, Any]:
    """A base connection of Amazon Kinesis."""
    return {
        "name": "Account",
        "description": "of the team",
        "connectionSpec": {"id": KINESIS_ID, "version": "1.0"},
        "auth": {
            "specName": "Aws Kinesis authentication credentials",
            "params": {"accessKeyId": "AKIDEXAMPLE", "secretKey": SECRET, "region": "eu-west-1", **params},
        },
    }


def memory_body() -> dict[str, Any]:
    """A base connection of the destination in memory, which needs no account."""
    return {"name": "Memory", "connectionSpec": {"id": MEMORY_ID, "version": "1.0"}}


def source_body(base_id: str) -> dict[str, Any]:
    """A source connection."""
    return {
        "name": "Source",
        "connectionSpec": {"id": PROFILE_SERVICE_ID, "version": "1.0"},
        "baseConnectionId": base_id,
        "data": {"format": "json"},
        "params": {},
    }


def target_body(base_id: str, **params: Any) -> dict[str, Any]:
    """A target connection of Amazon Kinesis."""
    return {
        "name": "Target",
        "baseConnectionId": base_id,
        "connectionSpec": {"id": KINESIS_ID, "version": "1.0"},
        "data": {"format": "json"},
        "params": {"stream": "leads", "region": "eu-west-1", **params},
    }


def segment_body(name: str = "Gold buyers", **fields: Any) -> dict[str, Any]:
    """A segment definition."""
    return {
        "name": name,
        "description": "d",
        "schema": {"name": "_xdm.context.profile"},
        "expression": {"type": "PQL", "format": "pql/text", "value": 'loyalty.tier = "gold"'},
        **fields,
    }


def flow_body(source_id: str, target_id: str, *segment_ids: str, paths: Iterable[str] = ()) -> dict[str, Any]:
    """A flow that maps audiences and attributes."""
    return {
        "name": "Flow",
        "description": "d",
        "flowSpec": {"id": FLOW_SPEC_ID, "version": "1.0"},
        "sourceConnectionIds": [source_id],
        "targetConnectionIds": [target_id],
        "transformations": [
            {
                "name": "GeneralTransform",
                "params": {
                    "segmentSelectors": {"selectors": [selector(each) for each in segment_ids]},
                    "profileSelectors": {"selectors": [attribute(each) for each in paths]},
                },
            }
        ],
    }


def selector(segment_id: str, **fields: Any) -> dict[str, Any]:
    """A mapped audience."""
    return {"type": "PLATFORM_SEGMENT", "value": {"id": segment_id, **fields}}


def attribute(path: str) -> dict[str, Any]:
    """A mapped attribute."""
    return {"type": "JSON_PATH", "value": {"operator": "EXISTS", "path": path}}


class Made(msgspec.Struct, frozen=True):
    """Ids of one of each.

    Attributes:
        platform: Base connection of the profile store.
        connection: Base connection of Amazon Kinesis.
        source: Source connection.
        target: Target connection.
        segment: Audience, which the flow maps.
        flow: Flow.
    """

    platform: str
    connection: str
    source: str
    target: str
    segment: str
    flow: str


def one_of_each(control: Control, by: Caller = ANN) -> Made:
    """Make what the tutorial makes."""
    platform = base_connections.create_connection(control, by, platform_body()).id
    connection = base_connections.create_connection(control, by, connection_body()).id
    source = source_connections.create_source_connection(control, by, source_body(platform)).id
    target = target_connections.create_target_connection(control, by, target_body(connection)).id
    segment = segments.create_segment(control, by, segment_body())["id"]
    flow = flows.create_flow(control, by, flow_body(source, target, segment, paths=["person.name.lastName"])).id
    return Made(platform, connection, source, target, segment, flow)
