"""The public Python client aepp against ``headrace serve``: what it makes runs in the real engine."""

from __future__ import annotations

import signal
import warnings
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.testing import Child, read_records
from tests.e2e.server import (
    FLOW_SPEC_ID,
    KINESIS_ID,
    PROFILES_ID,
    Server,
    connection_body,
    flow_body,
    map_attribute,
    map_segment,
    member,
    serving,
    spec,
    until,
)

with warnings.catch_warnings():
    # What it uses of other packages is not ours to mend.
    warnings.simplefilter("ignore")
    import aepp  # type: ignore[import-untyped]
    from aepp import customerprofile, flowservice, ingestion, segmentation

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(200),
    pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def message(person: str) -> dict[str, Any]:
    """An update as Experience Platform takes it."""
    entity = {
        "identityMap": {"Email": [{"id": f"{person}@example.test", "primary": True}]},
        "person": {"name": {"firstName": person}},
    }
    return {"header": {"imsOrgId": "O", "source": {"name": "test"}}, "body": {"xdmEntity": entity}}


def pointed_at(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client signs in to a server, calls its API and sends to its collection."""
    keys = server.keys
    aepp.configure(
        org_id=keys.organisation, client_id=keys.client_id, secret=keys.client_secret, scopes="openid",
        tech_id="tech@example.test", sandbox="prod",
    )  # fmt: skip
    monkeypatch.setitem(aepp.config.endpoints, "global", server.api)
    collection = server.collection.removesuffix("/collection")
    monkeypatch.setitem(aepp.config.endpoints["streaming"], "collection", collection)
    monkeypatch.setitem(aepp.config.config_object, "oauthTokenEndpointV2", server.api + "/ims/token/v3")


def test_updates_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one and many at once, to an inlet that the client made; all of them are applied."""
    with serving(tmp_path / "data") as server:
        pointed_at(server, monkeypatch)
        inlet = flowservice.FlowService().createConnectionStreaming(name="In", sourceId="in", paramName="in")["id"]
        sender = ingestion.DataIngestion()
        assert sender.streamMessage(inlet, message("ann"), syncValidation=True)["inletId"] == inlet
        answer = sender.streamMessages(inlet, [message("bo"), message("cy")])
        assert len(answer["responses"]) == 2
        until(lambda: "headrace_accepted_total 3" in server.health("/metrics").text, server.running.said)


def flow_made(client: Any, kinesis: str) -> str:
    """A flow to the stream, made by the client call by call; it maps nothing yet."""
    profiles = client.createConnectionToUPS(name="Profile store")["id"]
    source = client.createSourceConnection(
        {"name": "S", "connectionSpec": spec(PROFILES_ID), "baseConnectionId": profiles, "data": {"format": "json"}}
    )["id"]  # fmt: skip
    account = client.createConnection(data=connection_body(kinesis))["id"]
    assert client.connectionTest(account)["result"] is True
    target = {
        "name": "T", "connectionSpec": spec(KINESIS_ID), "baseConnectionId": account, "data": {"format": "json"},
        "params": {"stream": "one"},
    }  # fmt: skip
    target_id = client.createTargetConnection(data=target)["id"]
    return str(client.createFlow(FLOW_SPEC_ID, obj=flow_body(source, target_id))["id"])


def sent(folder: Path) -> list[dict[str, Any]]:
    """The messages on the stream so far."""
    return [msgspec.json.decode(each.data) for each in read_records(folder / "received")]


def test_a_flow_from_its_making_to_the_deletion_of_a_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made, activated by two patches, its members backfilled; a profile is read and deleted, and nothing names it."""
    streams = {"one": 2}
    with Child(streams=streams, record=tmp_path / "received") as kinesis, serving(tmp_path / "data") as server:
        pointed_at(server, monkeypatch)
        client, profile = flowservice.FlowService(), customerprofile.Profile()
        flow = flow_made(client, kinesis.url)
        ingestion.DataIngestion().streamMessages("in", [member(1), member(2, person="bo")])
        until(lambda: "headrace_accepted_total 2" in server.health("/metrics").text, server.running.said)
        segment = segmentation.Segmentation().createAudience({"name": "VIP", "namespace": "CRM", "audienceId": "vip"})
        etag = client.getFlow(flow)["etag"]
        mapped = client.updateFlow(flow, etag, [map_segment(segment["id"])])
        until(lambda: len(sent(tmp_path)) == 2, server.running.said)
        changed = client.updateFlow(flow, mapped["etag"], [map_attribute("web.n")])
        assert client.getFlow(flow)["etag"] == changed["etag"]
        path = f"/headrace/flows/{flow}/backfills"
        until(lambda: server.made("GET", path)["backfills"][0]["state"] == "done", server.running.said)
        (run,) = server.made("GET", path)["backfills"]
        assert (run["kind"], run["exported"]) == ("backfill", 2)
        assert mapped["backfills"][0]["run"] == run["run"]
        ingestion.DataIngestion().streamMessage("in", member(3))
        until(lambda: len(sent(tmp_path)) == 3, server.running.said)
        assert sent(tmp_path)[-1]["web"] == {"n": 3}

        (found,) = profile.getEntity(entityId="ada@example.com", entityIdNS="email").values()
        assert found["entity"]["web"] == {"n": 3}
        assert found["entity"]["segmentMembership"]["CRM"]["vip"]["status"] == "realized"
        assert profile.deleteEntity(
            schema_name="_xdm.context.profile", entityId="ada@example.com", entityIdNS="email"
        )  # fmt: skip
        path = "/headrace/profile-deletions"
        until(lambda: server.made("GET", path)["deletions"][0]["state"] == "done", server.running.said)
        assert profile.getEntity(entityId="ada@example.com", entityIdNS="email")["status"] == 404
        (kept,) = profile.getEntity(entityId="bo@example.com", entityIdNS="email").values()
        assert kept["entity"]["web"] == {"n": 2}
        server.running.signal(signal.SIGTERM)
        ended = server.running.ended()
    assert ended.code == 0
    assert '"event": "ready"' in ended.err
    assert "ada@example.com" not in ended.out + ended.err
    files = [each for each in (tmp_path / "data").rglob("*") if each.is_file()]
    assert [each.name for each in files if b"ada@example.com" in each.read_bytes()] == []
