"""From the stored records of a sandbox to what the engine runs: the same that a configuration file gives.

Pure but for the opening of secrets, which is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from headrace.core import canonical as _canonical
from headrace.core import flow as _flow
from headrace.core.report import Report
from headrace.destinations.base import Spec
from headrace.errors import ConfigurationError, Mistake
from headrace.settings import Secret

from . import compiling
from . import connection_rules as rules
from .configuration import Configuration
from .connection_rules import Target
from .resources import Kind, Resource, Scope
from .store import Query, Reading

Open = Callable[[Resource], Mapping[str, Secret]]
"""Opens the secrets of a base connection: ``auth.opened`` with its sealer."""


class Records(msgspec.Struct, frozen=True, kw_only=True):
    """What a sandbox holds, at one moment.

    Attributes:
        connections: Base connections.
        targets: Target connections.
        segments: Audiences.
        flows: Flows.
    """

    connections: Sequence[Resource]
    targets: Sequence[Resource]
    segments: Sequence[Resource]
    flows: Sequence[Resource]


def read(transaction: Reading, scope: Scope) -> Records:
    """Read what a sandbox publishes."""

    def every(kind: Kind) -> list[Resource]:
        return transaction.find(Query(kind=kind, scope=scope))

    return Records(
        connections=every(Kind.CONNECTION),
        targets=every(Kind.TARGET),
        segments=every(Kind.SEGMENT),
        flows=every(Kind.FLOW),
    )


def publish(
    records: Records,
    specs: Mapping[str, Spec],
    open_secrets: Open,
    *,
    merge_by: str = "arrival",
    max_identities: int = 50,
    unstitchable: Iterable[str] = (),
) -> Configuration:
    """Compile everything that is stored.

    A flow is paused while it, or its base connection, is disabled. All or nothing: a flow that was left out would
    count as deleted, and its pending exports would be discarded.

    Args:
        records: Of one sandbox.
        specs: Connection spec id to what the destination is.
        open_secrets: Opens the secrets of a base connection.
        merge_by: arrival or timestamp.
        max_identities: Most identities that one profile may gather.
        unstitchable: Namespaces that never join profiles.

    Raises:
        ConfigurationError: Something that is stored is not right any more, every place listed.
        UseCaseError: What *open_secrets* raises.
    """
    connections = {each.id: each for each in records.connections}
    targets = {each.id: each for each in records.targets}
    mistakes: list[Mistake] = []
    warnings: list[str] = []
    flows: list[_flow.CompiledFlow] = []
    found: dict[str, Target] = {}
    for each in records.flows:
        place = f"flows[{each.id}]"
        stored = targets.get(each.body["targetConnectionIds"][0])
        base = connections.get(stored.body["baseConnectionId"]) if stored else None
        if stored is None or base is None:
            mistakes.append(Mistake(f"{place}.targetConnectionIds[0]", "is not the id of a target connection"))
            continue
        report = Report()
        target = _target(report, stored, base, specs, open_secrets(base))
        compiled = compiling.compile_flow(
            each.id,
            "disabled" if base.state == "disabled" else each.state,
            each.body,
            segments=records.segments,
            params=target.params,
            spec_id=target.spec_id,
        )
        mistakes += report.mistakes
        mistakes += [m._replace(place=f"{place}{m.place}") for m in compiled.mistakes]
        warnings += [f"{place}{each}" for each in compiled.warnings]
        if compiled.flow:
            flows.append(compiled.flow)
            found[each.id] = target
    if mistakes:
        raise ConfigurationError(mistakes=mistakes)
    snapshot = _canonical.snapshot(flows, merge_by=merge_by, max_identities=max_identities, unstitchable=unstitchable)
    return Configuration(snapshot, found, warnings, _canonical.canonical(snapshot))


def _target(
    report: Report, stored: Resource, base: Resource, specs: Mapping[str, Spec], secrets: Mapping[str, Secret]
) -> Target:
    """Where a flow's exports go, with defaults filled in as the configuration file's are."""
    document: dict[str, Any] = base.body
    if secrets:
        params = {**document["auth"].get("params", {}), **{name: each.reveal() for name, each in secrets.items()}}
        document = {**document, "auth": {**document["auth"], "params": params}}
    account = rules.read_connection(report, document, f"connections[{base.id}]", specs)
    return rules.read_target(report, stored.body, f"targetConnections[{stored.id}]", specs, account)
