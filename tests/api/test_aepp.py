"""The public Python client aepp, unmodified, with its base and token URLs overridden, makes all of its calls."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from headrace.control import flows
from headrace.control.catalog import PROFILE_SERVICE_ID
from tests.control.plane import (
    ANN,
    FLOW_SPEC_ID,
    KINESIS_ID,
    ORG,
    attribute,
    connection_body,
    flow_body,
    memory_body,
    segment_body,
    selector,
    source_body,
)  # fmt: skip

from .serving import served
from .world import World

with warnings.catch_warnings():
    # What it uses of other packages is not ours to mend.
    warnings.simplefilter("ignore")
    import aepp  # type: ignore[import-untyped]
    from aepp import customerprofile, flowservice, segmentation

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture
def base(w: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a server that the client is pointed at."""
    with served(w.app) as url:
        aepp.configure(
            org_id=ORG, client_id=w.first.client.id, secret=w.first.client.secret.reveal(), scopes="openid",
            tech_id="tech@example.test", sandbox="prod",
        )  # fmt: skip
        monkeypatch.setitem(aepp.config.endpoints, "global", url)
        monkeypatch.setitem(aepp.config.config_object, "oauthTokenEndpointV2", url + "/ims/token/v3")
        yield url


@pytest.fixture
def client(base: str) -> Any:
    """Its Flow Service client."""
    assert base
    return flowservice.FlowService()


def replace(path: str, value: Any) -> list[dict[str, Any]]:
    """A patch as it is written for this client."""
    return [{"op": "Replace", "path": path, "value": value}]


def test_base_connections(client: Any, w: World) -> None:
    """Made in three ways, listed over pages, shown, tried, changed and removed."""
    made = client.createConnection(data=connection_body())
    profiles = client.createConnectionToUPS(name="Profile store")
    inlet = client.createConnectionStreaming(name="In", sourceId="in", paramName="in")
    for each in (made, profiles, inlet):
        assert set(each) == {"id", "etag"}
    assert len(client.getConnections(limit=2)) == 5
    found = client.getConnection(made["id"])
    assert (found["etag"], found["auth"]["params"]["secretKey"]) == (made["etag"], "****")
    params = client.getConnection(inlet["id"])["auth"]["params"]
    assert params["inletUrl"].endswith(f"/collection/{inlet['id']}")
    assert client.connectionTest(w.made.platform)["result"] is True
    assert client.patchConnection(made["id"], replace("/description", "New"))["id"] == made["id"]
    assert client.getConnection(made["id"])["description"] == "New"
    assert client.deleteConnection(made["id"]) == 204
    assert client.deleteConnection(w.made.connection)["errorCode"] == "1418-400"


def test_specs(client: Any) -> None:
    """Looked up by id and by name."""
    names = client.getConnectionSpecsMap()
    assert (names["Amazon Kinesis"], len(names)) == (KINESIS_ID, len(client.getConnectionSpecs()))
    assert client.getConnectionSpecIdFromName("Profile Service") == PROFILE_SERVICE_ID
    assert client.getConnectionSpec(KINESIS_ID)["items"][0]["name"] == "Amazon Kinesis"
    name = client.getFlowSpec(FLOW_SPEC_ID)["name"]
    assert [each["id"] for each in client.getFlowSpecs(f"name=={name}")] == [FLOW_SPEC_ID]
    assert client.getFlowSpecIdFromNames(name, "Profile Service", "Amazon Kinesis") == FLOW_SPEC_ID


def test_source_and_target_connections(client: Any, w: World) -> None:
    """Made, listed over pages, shown, changed and removed."""
    sources = [client.createSourceConnection(source_body(w.made.platform)) for _ in range(3)]
    assert len(client.getSourceConnections(limit=2)) == 4
    assert client.getSourceConnection(sources[0]["id"])["etag"] == sources[0]["etag"]
    changed = client.updateSourceConnection(sources[0]["id"], sources[0]["etag"], replace("/name", "New"))
    assert client.getSourceConnection(sources[0]["id"])["etag"] == changed["etag"]
    assert client.deleteSourceConnection(sources[0]["id"]) == 202
    memory = client.createConnection(data=memory_body())
    spec = {"id": memory_body()["connectionSpec"]["id"], "version": "1.0"}
    body = {"name": "T", "baseConnectionId": memory["id"], "connectionSpec": spec, "params": {"stream": "s"}}
    targets = [client.createTargetConnection(data=body) for _ in range(3)]
    assert len(client.getTargetConnections(limit=2)) == 4
    assert client.getTargetConnection(targets[0]["id"])["params"]["stream"] == "s"
    patch = [{"op": "add", "path": "/params/includeSegmentNames", "value": True}]
    assert client.updateTargetConnection(targets[0]["id"], targets[0]["etag"], patch)["id"] == targets[0]["id"]
    assert client.getTargetConnection(targets[0]["id"])["params"]["includeSegmentNames"] is True
    assert client.deleteTargetConnection(targets[0]["id"]) == 202


def test_flows(client: Any, w: World) -> None:
    """Made, listed over pages, activated by patches, switched off and on, managed, and removed."""
    body = flow_body(w.made.source, w.made.target)
    made = client.createFlow(FLOW_SPEC_ID, obj=body)
    for number in range(3):
        flows.create_flow(w.control, ANN, {**body, "name": f"Flow {number}"})
    assert len(client.getFlows(limit=2)) == 5
    assert len(client.getFlows(onlyDestinations=True, filterTargetIds=[w.made.target])) == 5
    assert [each["id"] for each in client.getFlows(prop=f"id=={made['id']}")] == [made["id"]]
    selectors = "/transformations/0/params/{}Selectors/selectors/-"
    patch = [
        {"op": "Add", "path": selectors.format("segment"), "value": selector(w.made.segment, name="n")},
        {"op": "Add", "path": selectors.format("profile"), "value": attribute("person.name.lastName")},
    ]
    changed = client.updateFlow(made["id"], made["etag"], patch)
    assert (changed["id"], changed["backfills"][0]["flow"]) == (made["id"], made["id"])
    assert w.engine.asked[-2][0] == "configure"
    assert w.engine.asked[-1] == (
        "backfill-mapped", {"flow": made["id"], "segments": [w.made.segment]},
    )  # fmt: skip
    assert client.updateFlow(made["id"], made["etag"], patch)["errorCode"] == "1404-412"
    assert client.postFlowAction(made["id"], "disable")["id"] == made["id"]
    assert client.getFlow(made["id"])["state"] == "disabled"
    assert client.postFlowAction(made["id"], "enable")["id"] == made["id"]
    manager = flowservice.FlowManager(made["id"])
    assert (manager.flowType, manager.audiences) == ("destination", [w.made.segment])
    assert (manager.state, list(manager.attributes)) == ("enabled", ["person.name.lastName"])
    assert client.deleteFlow(made["id"]) == 202
    with pytest.raises(KeyError):
        client.getFlow(made["id"])["id"]


def test_runs(client: Any, w: World) -> None:
    """Listed with filters and over pages, made and shown."""
    for _ in range(3):
        assert set(client.createRun(w.made.flow)) == {"id", "etag"}
    assert len(client.getRuns(limit=2, prop=[f"flowId=={w.made.flow}"])) == 4
    filters = [f"flowId=={w.made.flow}", "metrics.recordSummary.inputRecordCount>=3"]
    assert [each["id"] for each in client.getRuns(prop=filters)] == [w.run]
    assert client.getRun(w.run)[0]["metrics"]["recordSummary"]["outputRecordCount"] == 2


def test_audiences(base: str, w: World) -> None:
    """Definitions and audiences are listed over pages, made, changed and removed."""
    assert base
    client = segmentation.Segmentation()
    made = client.createSegment({**segment_body("Second"), "ttlInDays": 30})
    assert made["name"] == "Second"
    for number in range(130):
        client.createAudience({"name": f"External {number:03}", "namespace": "CRM", "audienceId": f"crm-{number}"})
    assert len({each["id"] for each in client.getSegments()}) == 132
    assert len(client.getAudiences()) == 132
    assert client.getSegment(made["id"])["id"] == made["id"]
    assert client.updateSegment(made["id"], {**made, "name": "Third"})["name"] == "Third"
    found = client.getMultipleSegments({"ids": [{"id": made["id"]}]})
    assert found[made["id"]]["name"] == "Third"
    assert client.getAudience("crm-7")["namespace"] == "CRM"
    assert client.patchAudience("crm-7", replace("/description", "New"))["description"] == "New"
    assert client.putAudience("crm-7", {"name": "External 7"})["name"] == "External 7"
    assert client.deleteAudience("crm-7") == 204
    assert client.deleteSegment(made["id"]) == 200
    assert client.deleteSegment(w.made.segment)["errorCode"] == "1447-400"


def test_profiles(base: str, w: World) -> None:
    """Read by an identity."""
    assert base
    client = customerprofile.Profile()
    answer = client.getEntity(entityId="ann@example.test", entityIdNS="email")
    (found,) = answer.values()
    assert found["entity"]["person"]["name"]["lastName"] == "Roe"
    assert found["entity"]["identityMap"]["email"] == [{"id": "ann@example.test"}]
    assert found["lastModifiedAt"] == "2026-01-01T00:00:00Z"
    assert client.deleteEntity(schema_name="_xdm.context.profile", entityId="ann@example.test", entityIdNS="email")
    assert w.engine.profiles == {}
