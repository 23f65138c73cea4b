"""What one tries before and while activating: paths seen, test records, streams to choose from; and a late engine."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from headrace.bootstrap.control import opened
from headrace.control import flows
from headrace.settings import Settings
from headrace.testing import Child, read_records
from tests.e2e.server import FLOWS, Server, Tutorial, connection_body, map_segment, member, serving, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def kinesis(tmp_path: Path) -> Iterator[Child]:
    """A scripted Kinesis that notes what it takes."""
    with Child(streams={"one": 2, "two": 1}, record=tmp_path / "received") as child:
        yield child


def received(folder: Path) -> list[dict[str, object]]:
    """Every message on a stream."""
    return [msgspec.json.decode(each.data) for each in read_records(folder / "received")]


def test_a_test_record_arrives_marked_and_nothing_counts_it(tmp_path: Path, kinesis: Child) -> None:
    """From a flow that was made a moment ago; the answer says where it is; a refusal says why, with 400."""
    with serving(tmp_path / "data") as server:
        tutorial = Tutorial(server, kinesis.url, "one")
        answer = server.made("POST", f"/headrace/flows/{tutorial.flow}/test-record")
        assert (answer["outcome"], answer["marker"]) == ("delivered", "_headrace.cause.kind: test")
        (record,) = read_records(tmp_path / "received")
        assert (answer["shard"], answer["sequence"]) == (record.shard, record.sequence)
        assert msgspec.json.decode(record.data)["_headrace"]["cause"]["kind"] == "test"
        totals = server.health("/metrics").text
        assert f'headrace_flow_delivered_total{{flow="{tutorial.flow}"}} 0.0' in totals
        server.patch(
            f"{FLOWS}/targetConnections/{tutorial.target}",
            {"op": "replace", "path": "/params/stream", "value": "missing"},
        )
        refused = server.call("POST", f"/headrace/flows/{tutorial.flow}/test-record")
        assert refused.status_code == 400
        assert "ResourceNotFound" in refused.json()["message"]
        assert "check the stream's name" in refused.json()["message"]
        actions = [
            each["action"] for each in server.made("GET", f"/headrace/audit?resourceId={tutorial.flow}")["items"]
        ]
        assert actions[0] == "send-test-record"


def test_paths_that_profiles_have_and_those_that_a_schema_declares(tmp_path: Path) -> None:
    """Shapes and no values; mappings that the schema does not know are warned of."""
    with serving(tmp_path / "data") as server:
        server.post(*(member(n, person=f"p{n}") for n in range(10)))
        found = {each["path"]: each for each in server.made("GET", "/headrace/observed-schema")["paths"]}
        assert found["web.n"] == {"path": "web.n", "type": "integer", "count": 10, "of": 10, "sample": "9"}
        schema = {"type": "object", "properties": {"person": {"properties": {"age": {"type": "integer"}}}}}
        assert server.made("PUT", "/headrace/profile-schema", schema)["paths"] == 1
        found = {each["path"]: each for each in server.made("GET", "/headrace/observed-schema")["paths"]}
        assert [found["web.n"]["declared"], found["person.age"]["declared"]] == [False, True]


def test_what_is_mapped_while_nothing_runs_is_backfilled_later(tmp_path: Path, kinesis: Child) -> None:
    """Those who qualified before are sent when the engine is back, once."""
    data = tmp_path / "data"
    with serving(data) as server:
        tutorial = Tutorial(server, kinesis.url, "one")
        until(lambda: tutorial.flow in server.flows(), server.running.said)
        server.post(*(member(n, person=f"p{n}") for n in range(5)))
        keys = server.keys
        server.running.signal(signal.SIGTERM)
        server.running.ended()
    with opened(Settings(data_dir=data)) as (control, caller):
        etag = flows.get_flow(control, caller, tutorial.flow)["etag"]
        flows.patch_flow(control, caller, tutorial.flow, [map_segment(tutorial.segment)], etag)
    assert received(tmp_path) == []
    with serving(data, keys=keys) as server:
        until(lambda: len(received(tmp_path)) == 5, server.running.said)
        (run,) = server.made("GET", f"/headrace/flows/{tutorial.flow}/backfills")["backfills"]
        assert (run["automatic"], run["exported"]) == (True, 5)


def test_mapping_begins_one_backfill(tmp_path: Path, kinesis: Child) -> None:
    """The answer names its run; everybody is sent once."""
    with serving(tmp_path / "data") as server:
        tutorial = Tutorial(server, kinesis.url, "one")
        server.post(*(member(n, person=f"p{n}") for n in range(5)))
        answer = server.patch(tutorial.path, map_segment(tutorial.segment))
        (run,) = server.made("GET", f"/headrace/flows/{tutorial.flow}/backfills")["backfills"]
        assert answer["backfills"] == [{"flow": tutorial.flow, "run": run["run"]}]
        until(lambda: _ended(server, tutorial.flow), server.running.said)
        assert len(received(tmp_path)) == 5


def _ended(server: Server, flow: str) -> bool:
    found = server.made("GET", f"/headrace/flows/{flow}/backfills")["backfills"]
    return [each["state"] for each in found] == ["done"]


def test_streams_are_listed_and_one_who_may_not_list_is_told_so(tmp_path: Path, kinesis: Child) -> None:
    """Names for a picker; an empty list with the reason where they cannot be had."""
    with serving(tmp_path / "data") as server:
        account = server.made("POST", f"{FLOWS}/connections", connection_body(kinesis.url))["id"]
        answer = server.made("GET", f"/headrace/connections/{account}/streams")
        assert answer["streams"] == ["one", "two"]
