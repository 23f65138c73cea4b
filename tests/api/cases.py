"""Every operation with a right request: the table of the suites on operations, permissions and sandboxes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

from headrace.api.app import OPERATIONS
from headrace.api.operation import Operation
from headrace.control import flows, profile_schemas
from headrace.errors import UseCaseError
from tests.control.plane import (
    ANN,
    FLOW_SPEC_ID,
    KINESIS_ID,
    attribute,
    flow_body,
    memory_body,
    segment_body,
    source_body,
    target_body,
)  # fmt: skip

from .client import BASE, Client, form
from .engine import deletion
from .world import World

FLOWS = "/headrace/flows"
UPS = "/data/core/ups"
SANDBOXES = "/data/foundation/sandbox-management/sandboxes"
RENAME = [{"op": "replace", "path": "/name", "value": "New"}]
MAP = [{"op": "add", "path": "/transformations/0/params/profileSelectors/selectors/-", "value": attribute("a.b")}]
SCHEMA = {"type": "object", "properties": {"person": {"type": "object", "properties": {"age": {"type": "integer"}}}}}
PROFILE = "?entityId=ann@example.test&entityIdNS=email&schema.name=_xdm.context.profile"


class Case(NamedTuple):
    """A right request of an operation.

    Attributes:
        path: With its ids.
        body: JSON; None for none.
        more: Arguments of the request besides.
        prepare: Done before, by the administrator.
        everywhere: Its answer is the same in another sandbox.
    """

    path: Callable[[World], str]
    body: Callable[[World], Any] | None = None
    more: Callable[[World], dict[str, Any]] = lambda _: {}
    prepare: Callable[[World], None] = lambda _: None
    everywhere: bool = False


def at(path: str) -> Callable[[World], str]:
    """A path without ids."""
    return lambda _: path


def given(body: Any) -> Callable[[World], Any]:
    """A body without ids."""
    return lambda _: body


def current(path: Callable[[World], str]) -> Callable[[World], dict[str, Any]]:
    """The header with the current etag."""
    return lambda w: {"headers": {"if-match": w.client.item(path(w).removeprefix(BASE))["etag"]}}


def without_flow(w: World) -> None:
    """Remove the flow, which uses what the case removes."""
    with contextlib.suppress(UseCaseError):  # it is gone already
        flows.delete_flow(w.control, ANN, w.made.flow)


def with_schema(w: World) -> None:
    """Keep a schema of profiles."""
    profile_schemas.put_schema(w.control, ANN, SCHEMA)


def with_deletion(w: World) -> None:
    """Let the engine remember a deletion."""
    w.engine.deletions.append(deletion())


def paused(w: World) -> None:
    """Let the engine have paused the flow for its dead letters."""
    w.engine.pauses[w.made.flow] = {"mode": "keep", "since_ms": 1, "reason": "dead-letters"}


def skipped(w: World) -> None:
    """Let the flow have skipped something."""
    w.engine.skipped[w.made.flow] = 3


def connection(w: World) -> str:
    """The account at Amazon Kinesis, which another sandbox has not."""
    return f"{BASE}/connections/{w.made.connection}"


def platform(w: World) -> str:
    """The profile store's connection."""
    return f"{BASE}/connections/{w.made.platform}"


def source(w: World) -> str:
    """The source connection."""
    return f"{BASE}/sourceConnections/{w.made.source}"


def target(w: World) -> str:
    """The target connection."""
    return f"{BASE}/targetConnections/{w.made.target}"


def flow(w: World) -> str:
    """The flow."""
    return f"{BASE}/flows/{w.made.flow}"


def segment(w: World) -> str:
    """The audience as a segment definition."""
    return f"{UPS}/segment/definitions/{w.made.segment}"


def audience(w: World) -> str:
    """The audience."""
    return f"{UPS}/audiences/{w.made.segment}"


def own_flow(w: World) -> str:
    """The flow, below our own prefix."""
    return f"{FLOWS}/{w.made.flow}"


AUDIENCE = {"name": "External", "namespace": "CRM", "audienceId": "crm-1", "type": "ExternalAudience"}
CASES: dict[str, Case] = {
    "createToken": Case(
        at("/ims/token/v3"),
        more=lambda w: {"data": form(w.first.client.id, w.first.client.secret.reveal())},
        everywhere=True,
    ),
    "getHealth": Case(at("/healthz"), everywhere=True),
    "listConnectionSpecs": Case(at(f"{BASE}/connectionSpecs?property=name==Amazon Kinesis"), everywhere=True),
    "getConnectionSpec": Case(at(f"{BASE}/connectionSpecs/{KINESIS_ID}"), everywhere=True),
    "createConnectionSpec": Case(at(f"{BASE}/connectionSpecs"), given({"name": "n"}), everywhere=True),
    "replaceConnectionSpec": Case(at(f"{BASE}/connectionSpecs/{KINESIS_ID}"), given({"name": "n"}), everywhere=True),
    "listFlowSpecs": Case(at(f"{BASE}/flowSpecs"), everywhere=True),
    "searchFlowSpecs": Case(at(f"{BASE}/flowSpecs/search"), given({"limit": 5}), everywhere=True),
    "getFlowSpec": Case(at(f"{BASE}/flowSpecs/{FLOW_SPEC_ID}"), everywhere=True),
    "createFlowSpec": Case(at(f"{BASE}/flowSpecs"), given({"name": "n"}), everywhere=True),
    "replaceFlowSpec": Case(at(f"{BASE}/flowSpecs/{FLOW_SPEC_ID}"), given({"name": "n"}), everywhere=True),
    "listConnections": Case(at(f"{BASE}/connections?limit=10&orderby=-name")),
    "createConnection": Case(at(f"{BASE}/connections"), given(memory_body()), everywhere=True),
    "searchConnections": Case(at(f"{BASE}/connections/search"), given({"queryString": "property=name==Account"})),
    "getConnection": Case(connection),
    "patchConnection": Case(platform, given(RENAME), current(platform)),
    "deleteConnection": Case(platform, prepare=without_flow),
    "testConnection": Case(lambda w: f"{platform(w)}/test"),
    "listStreams": Case(lambda w: f"/headrace/connections/{w.made.platform}/streams"),
    "listSourceConnections": Case(at(f"{BASE}/sourceConnections")),
    "createSourceConnection": Case(at(f"{BASE}/sourceConnections"), lambda w: source_body(w.made.platform)),
    "getSourceConnection": Case(source),
    "patchSourceConnection": Case(source, given(RENAME), current(source)),
    "deleteSourceConnection": Case(source, prepare=without_flow),
    "listTargetConnections": Case(at(f"{BASE}/targetConnections")),
    "createTargetConnection": Case(at(f"{BASE}/targetConnections"), lambda w: target_body(w.made.connection)),
    "getTargetConnection": Case(target),
    "patchTargetConnection": Case(target, given(RENAME), current(target)),
    "deleteTargetConnection": Case(target, prepare=without_flow),
    "listFlows": Case(at(f"{BASE}/flows?property=state==enabled&count=False")),
    "createFlow": Case(at(f"{BASE}/flows"), lambda w: flow_body(w.made.source, w.made.target)),
    "searchFlows": Case(at(f"{BASE}/flows/search"), given({"limit": 5, "projectionFields": ["name"]})),
    "getFlow": Case(flow),
    "patchFlow": Case(flow, given(MAP), current(flow)),
    "deleteFlow": Case(flow),
    "actOnFlow": Case(lambda w: f"{flow(w)}/action?op=DISABLE"),
    "listRuns": Case(lambda w: f"{BASE}/runs?property=flowId=={w.made.flow}"),
    "createRun": Case(at(f"{BASE}/runs"), lambda w: {"flowId": w.made.flow, "status": "active"}),
    "getRun": Case(lambda w: f"{BASE}/runs/{w.run}"),
    "listSegments": Case(at(f"{UPS}/segment/definitions?sort=name:desc&limit=5")),
    "createSegment": Case(at(f"{UPS}/segment/definitions"), given(segment_body("Other")), everywhere=True),
    "getSegments": Case(at(f"{UPS}/segment/definitions/bulk-get"), lambda w: {"ids": [{"id": w.made.segment}]}),
    "getSegment": Case(segment),
    "updateSegment": Case(segment, given({"name": "New"})),
    "deleteSegment": Case(segment, prepare=without_flow),
    "listAudiences": Case(at(f"{UPS}/audiences?entityType=_xdm.context.profile&property=type==SegmentDefinition")),
    "createAudience": Case(at(f"{UPS}/audiences"), given(AUDIENCE), everywhere=True),
    "getAudience": Case(audience),
    "updateAudience": Case(audience, given([{"op": "replace", "path": "/description", "value": "New"}])),
    "replaceAudience": Case(audience, given({"name": "New"})),
    "deleteAudience": Case(audience, prepare=without_flow),
    "getProfile": Case(at(f"{UPS}/access/entities{PROFILE}&fields=person.name")),
    "deleteProfile": Case(at(f"{UPS}/access/entities{PROFILE}")),
    "listProfileDeletions": Case(at("/headrace/profile-deletions?run=d1"), prepare=with_deletion),
    "getAudienceSizes": Case(at("/headrace/audience-sizes")),
    "getObservedSchema": Case(at("/headrace/observed-schema")),
    "getProfileSchema": Case(at("/headrace/profile-schema"), prepare=with_schema),
    "putProfileSchema": Case(at("/headrace/profile-schema"), given(SCHEMA), everywhere=True),
    "deleteProfileSchema": Case(at("/headrace/profile-schema"), prepare=with_schema),
    "sendTestRecord": Case(lambda w: f"{own_flow(w)}/test-record", given({"message": {"n": 1}})),
    "listFlowStandings": Case(at(FLOWS)),
    "getFlowStanding": Case(own_flow),
    "pauseFlow": Case(lambda w: f"{own_flow(w)}/pause", given({"mode": "skip"})),
    "resumeFlow": Case(lambda w: f"{own_flow(w)}/resume", given({"catchUp": False}), prepare=paused),
    "catchUpFlow": Case(lambda w: f"{own_flow(w)}/catch-up", prepare=skipped),
    "listBackfills": Case(lambda w: f"{own_flow(w)}/backfills"),
    "startBackfill": Case(lambda w: f"{own_flow(w)}/backfills", lambda w: {"segments": [w.made.segment]}),
    "getBackfill": Case(lambda w: f"{own_flow(w)}/backfills/{w.backfill}"),
    "actOnBackfill": Case(lambda w: f"{own_flow(w)}/backfills/{w.backfill}/pause"),
    "startAdhocRun": Case(
        at("/data/core/activation/disflowprovider/adhocrun"),
        lambda w: {"activationInfo": {w.made.flow: [w.made.segment]}},
    ),
    "listDeadLetters": Case(lambda w: f"{own_flow(w)}/dead-letters?limit=5"),
    "getDeadLetter": Case(lambda w: f"{own_flow(w)}/dead-letters/{w.letter}"),
    "replayDeadLetters": Case(lambda w: f"{own_flow(w)}/dead-letters/replay", lambda w: {"ids": [w.letter]}),
    "replayUpdates": Case(at("/headrace/dead-letters/replay"), given({"reason": "no-identity"})),
    "listSandboxes": Case(at(SANDBOXES), everywhere=True),
    "createSandbox": Case(at(SANDBOXES), given({"name": "third", "type": "development"}), everywhere=True),
    "getSandbox": Case(at(f"{SANDBOXES}/prod"), everywhere=True),
    "listActivity": Case(at("/headrace/audit?kind=flows&limit=5")),
    "sealAnew": Case(at("/headrace/sealing"), everywhere=True),
    "createClient": Case(at("/headrace/clients"), given({"name": "n", "roles": ["viewer"]}), everywhere=True),
    "createUser": Case(at("/headrace/users"), given({"name": "n", "roles": ["viewer"]}), everywhere=True),
    "createRole": Case(at("/headrace/roles"), given({"name": "n", "permissions": []}), everywhere=True),
    "renewSecret": Case(lambda w: f"/headrace/clients/{w.spare.id}/secret", everywhere=True),
    "renewPassword": Case(lambda w: f"/headrace/users/{w.user.id}/password", everywhere=True),
    "listClients": Case(at("/headrace/clients"), everywhere=True),
    "listUsers": Case(at("/headrace/users"), everywhere=True),
    "listRoles": Case(at("/headrace/roles"), everywhere=True),
    "updateClient": Case(lambda w: f"/headrace/clients/{w.spare.id}", given({"state": "disabled"}), everywhere=True),
    "updateUser": Case(lambda w: f"/headrace/users/{w.user.id}", given({"roles": []}), everywhere=True),
    "updateRole": Case(lambda w: f"/headrace/roles/{w.role}", given({"permissions": []}), everywhere=True),
    "deleteClient": Case(lambda w: f"/headrace/clients/{w.spare.id}", everywhere=True),
    "deleteUser": Case(lambda w: f"/headrace/users/{w.user.id}", everywhere=True),
    "deleteRole": Case(lambda w: f"/headrace/roles/{w.role}", everywhere=True),
}

DECLARED: dict[str, Operation] = {row.name: row for part in OPERATIONS for row in part.rows}
"""Every operation that the application serves."""
REFUSED_FOR_ALL = frozenset({"createConnectionSpec", "replaceConnectionSpec", "createFlowSpec", "replaceFlowSpec"})
"""Operations whose right answer is the refusal 1426-400."""


def send(w: World, name: str, client: Client | None = None, headers: dict[str, str] | None = None) -> Any:
    """Prepare and send the right request of an operation.

    Args:
        w: The world.
        name: The operation.
        client: Who sends it; the administrator when None.
        headers: In the place of the client's, for a request that is refused: nothing is prepared.
    """
    case = CASES[name]
    if headers is None:
        case.prepare(w)
    more = case.more(w)
    if case.body is not None:
        more["json"] = case.body(w)
    by = client or w.client
    if headers is not None:
        by = Client(w.app, headers)
    return by.request(DECLARED[name].method, case.path(w), **more)
