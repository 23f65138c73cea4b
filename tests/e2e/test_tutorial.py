"""The tutorial's sequence by curl against ``headrace serve`` and a local Kinesis, to the messages in the stream.

Then what one does afterwards: edit, disable, enable, take an audience out, delete.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import msgspec
import pytest

from tests.e2e.server import FLOWS, PLANTED, Server, connection_body, flow_body, member, serving, spec, until
from tests.e2e.server import KINESIS_ID as KINESIS
from tests.e2e.server import PROFILES_ID as PROFILES
from tests.servers import moto

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
STREAM = "profiles"


@pytest.fixture(scope="module")
def kinesis() -> Iterator[str]:
    """A local Kinesis with a stream."""
    with moto() as url:
        _client(url).create_stream(StreamName=STREAM, ShardCount=1)
        yield url


def _client(url: str) -> Any:
    return boto3.client(
        "kinesis", endpoint_url=url, region_name="eu-west-1", aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key=PLANTED,
    )  # fmt: skip


def messages(url: str) -> list[Any]:
    """Every message of the stream, in its order."""
    client = _client(url)
    shard = client.describe_stream(StreamName=STREAM)["StreamDescription"]["Shards"][0]["ShardId"]
    start = client.get_shard_iterator(StreamName=STREAM, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    records = client.get_records(ShardIterator=start["ShardIterator"])["Records"]
    return [msgspec.json.decode(each["Data"]) for each in records]


def curl(*arguments: str, body: Any = None) -> Any:
    """A call by curl; fails unless the status is one of success."""
    command = ["curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "60", *arguments]
    if body is not None:
        command += ["--header", "Content-Type: application/json", "--data", msgspec.json.encode(body).decode()]
    done = subprocess.run(command, capture_output=True, timeout=90, check=False)
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    return msgspec.json.decode(done.stdout) if done.stdout else None


class Curl:
    """The API by curl, as the tutorial writes it."""

    def __init__(self, server: Server) -> None:
        keys = server.keys
        answer = curl(
            "--request", "POST", f"{server.api}/ims/token/v3",
            "--data", f"grant_type=client_credentials&client_id={keys.client_id}&client_secret={keys.client_secret}",
        )  # fmt: skip
        self._url = server.api + FLOWS
        self._headers = [
            part
            for name, text in (
                ("Authorization", f"Bearer {answer['access_token']}"), ("x-api-key", keys.client_id),
                ("x-gw-ims-org-id", keys.organisation), ("x-sandbox-name", "prod"),
            )
            for part in ("--header", f"{name}: {text}")
        ]  # fmt: skip

    def call(self, method: str, path: str, body: Any = None, etag: str = "") -> Any:
        """One call."""
        more = ["--header", f"If-Match: {etag}"] if etag else []
        return curl("--request", method, self._url + path, *self._headers, *more, body=body)

    def patch(self, path: str, *operations: dict[str, Any]) -> Any:
        """Look the resource up, and change it."""
        etag = self.call("GET", path)["items"][0]["etag"]
        return self.call("PATCH", path, list(operations), etag)


@pytest.mark.moto
def test_the_tutorial(tmp_path: Path, kinesis: str) -> None:
    """Each step of "connect to streaming destinations and activate data", with the stream as its witness."""
    with serving(tmp_path / "data") as server:
        api = Curl(server)
        specs = api.call("GET", "/connectionSpecs")["items"]
        assert {KINESIS, PROFILES} <= {each["id"] for each in specs}
        platform = api.call("POST", "/connections", {"name": "Profiles", "connectionSpec": spec(PROFILES)})["id"]
        source = api.call(
            "POST", "/sourceConnections",
            {"name": "Profiles", "connectionSpec": spec(PROFILES), "baseConnectionId": platform,
             "data": {"format": "json"}, "params": {}},
        )["id"]  # fmt: skip
        account = api.call("POST", "/connections", connection_body(kinesis))["id"]
        assert api.call("GET", f"/connections/{account}/test")["result"] is True
        target = api.call(
            "POST", "/targetConnections",
            {"name": "Stream", "connectionSpec": spec(KINESIS), "baseConnectionId": account,
             "data": {"format": "json"}, "params": {"stream": STREAM}},
        )["id"]  # fmt: skip
        flow = api.call("POST", "/flows", flow_body(source, target))["id"]
        path = f"/flows/{flow}"
        _map(api, path, {"type": "PLATFORM_SEGMENT", "value": {"id": "vip", "namespace": "CRM"}}, "segmentSelectors")
        _map(api, path, {"type": "JSON_PATH", "value": {"operator": "EXISTS", "path": "web.n"}}, "profileSelectors")
        found = api.call("GET", path)["items"][0]
        params = found["transformations"][0]["params"]
        assert found["state"] == "enabled"
        assert [each["value"]["id"] for each in params["segmentSelectors"]["selectors"]] == ["vip"]
        until(lambda: server.flows() == {flow: "running"}, server.running.said)
        server.post(member(1), member(2, person="bo"))
        until(lambda: len(messages(kinesis)) == 2, server.running.said)
        first = messages(kinesis)[0]
        assert first["web"]["n"] == 1
        assert first["segmentMembership"]["CRM"]["vip"]["status"] in ("existing", "realized")
        _afterwards(server, api, path, kinesis, target)
        _audited(server, flow)
        assert PLANTED not in server.running.said() + server.running.shown()


def _audited(server: Server, flow: str) -> None:
    """The audit log has every change of the flow, by whom, with what was before and after, and no secret."""
    lines = server.made("GET", f"/headrace/audit?resourceId={flow}&limit=100")["items"]
    assert [each["action"] for each in lines] == [
        "delete", "update", "enable", "disable", "update", "update", "update", "create",
    ]  # fmt: skip
    assert {each["subject"] for each in lines} == {server.keys.client_id}
    assert (lines[0]["after"], lines[-1]["before"]) == (None, None)
    paths = [str(each["after"]["transformations"]).count("JSON_PATH") for each in reversed(lines) if each["after"]]
    assert paths == [0, 0, 1, 2, 2, 2, 2]
    every = server.made("GET", "/headrace/audit?limit=1000&organisation=true")["items"]
    assert PLANTED not in str(every)
    assert "****" in str(every)


def _map(api: Curl, path: str, value: Any, selectors: str) -> None:
    api.patch(path, {"op": "add", "path": f"/transformations/0/params/{selectors}/selectors/-", "value": value})


def _afterwards(server: Server, api: Curl, path: str, kinesis: str, target: str) -> None:
    """Edit, disable, enable, take the audience out, delete."""
    _map(api, path, {"type": "JSON_PATH", "value": {"operator": "EXISTS", "path": "person.name"}}, "profileSelectors")
    api.patch(f"/targetConnections/{target}", {"op": "replace", "path": "/name", "value": "Renamed"})
    flow = path.rpartition("/")[2]
    api.call("POST", f"{path}/action?op=disable")
    until(lambda: server.flows() == {flow: "paused"}, server.running.said)
    server.post(member(3))
    assert len(messages(kinesis)) == 2
    api.call("POST", f"{path}/action?op=enable")
    until(lambda: len(messages(kinesis)) == 3, server.running.said)
    assert messages(kinesis)[2]["web"]["n"] == 3
    api.patch(path, {"op": "remove", "path": "/transformations/0/params/segmentSelectors/selectors/0"})
    _quiet(server, kinesis)
    api.call("DELETE", path)
    until(lambda: server.flows() == {}, server.running.said)
    lines = server.made("GET", "/data/foundation/flowservice/flows")["items"]
    assert lines == []


def _quiet(server: Server, kinesis: str) -> None:
    """Nothing is exported for an audience that was taken out: updates are accepted and held."""

    def held() -> bool:
        server.post(member(4))
        return 'reason="not-a-member"' in server.health("/metrics").text

    until(held, server.running.said)
    assert len([each for each in messages(kinesis) if each["web"]["n"] == 4]) <= 1
