"""``headrace check`` as a process: against moto with its verdicts, and on a configuration full of mistakes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from headrace.testing import Child, Fault, Script
from tests import servers
from tests.cli.commands import headrace
from tests.destinations.kinesis.streams import client, read
from tests.e2e.updates import STREAMS, configuration, write_configuration

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
PERMISSIONS = ["kinesis:ListStreams", "kinesis:PutRecord", "kinesis:PutRecords"]


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    """moto's server with the streams of the configuration."""
    with servers.moto() as url:
        kinesis = client(url)
        for stream in STREAMS.values():
            kinesis.create_stream(StreamName=stream, ShardCount=1)
            kinesis.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 1})
        yield url


@pytest.mark.moto
def test_flows_that_can_run(moto_url: str, tmp_path: Path) -> None:
    """0, a verdict for each permission and flow, as text and as JSON; nothing was written, no data folder made."""
    config = write_configuration(tmp_path / "config.json", moto_url)
    found = headrace("check", "--config", config, "--json", data=tmp_path / "data")
    assert found.code == 0, found
    assert list(found.json) == ["first", "second"]
    for flow in found.json.values():
        assert [permission["action"] for permission in flow["permissions"]] == PERMISSIONS
        assert flow["problems"] == []
    shown = headrace("check", "--config", config, data=tmp_path / "data")
    assert shown.code == 0
    assert all(action in shown.out for action in PERMISSIONS)
    assert "2 of 2 flows can run" in shown.out
    one = headrace("check", "--config", config, "--flow", "second", "--json", data=tmp_path / "data")
    assert list(one.json) == ["second"]
    assert all(read(client(moto_url), stream) == {} for stream in STREAMS.values())
    assert not (tmp_path / "data").exists()


@pytest.mark.moto
def test_a_missing_stream_ends_it_with_4(moto_url: str, tmp_path: Path) -> None:
    """4, with the stream's name and what to do; the other flow's verdict is there all the same."""
    changed = configuration(moto_url)
    changed["targetConnections"][1]["params"]["stream"] = "missing"
    config = tmp_path / "config.json"
    config.write_bytes(msgspec.json.encode(changed))
    found = headrace("check", "--config", config, data=tmp_path / "data")
    assert found.code == 4, found
    assert "missing" in found.out
    assert "1 of 2 flows can run" in found.out


def test_a_permission_that_is_denied_comes_with_its_statement(tmp_path: Path) -> None:
    """4, denied is named, and the policy statement to add is printed as JSON."""
    denied = Fault(
        kind="refuse", code="AccessDeniedException", actions=("PutRecords",),
        message="User: arn:aws:iam::1:user/x is not authorized to perform: kinesis:PutRecords",
    )  # fmt: skip
    with Child(streams=dict.fromkeys(STREAMS.values(), 1), script=Script(faults=(denied,))) as kinesis:
        config = write_configuration(tmp_path / "config.json", kinesis.url, flows=("first",))
        found = headrace("check", "--config", config, data=tmp_path / "data")
        assert found.code == 4, found
        assert re.search(r"kinesis:PutRecords\s.*denied|denied.*kinesis:PutRecords", found.out)
        start = found.out.index("{")
        statement: Any = msgspec.json.decode(found.out[start : found.out.rindex("}") + 1])
        assert "kinesis:PutRecords" in statement["Action"]
        assert statement["Resource"].endswith("stream/stream-1")


def test_nobody_answering_is_one_clear_problem(tmp_path: Path) -> None:
    """4, with the endpoint, within its time."""
    port = servers.free_port()
    config = write_configuration(tmp_path / "config.json", f"http://127.0.0.1:{port}")
    found = headrace("check", "--config", config, data=tmp_path / "data")
    assert found.code == 4, found
    assert str(port) in found.out
    assert "0 of 2 flows can run" in found.out


def test_every_mistake_is_listed_with_its_place_and_what_is_allowed(tmp_path: Path) -> None:
    """Five mistakes, five lines, in the file's order; nothing is connected to, and the secret is not repeated."""
    wrong = configuration("http://127.0.0.1:9")
    wrong["colour"] = "blue"
    wrong["connections"][0]["auth"]["params"]["region"] = "Ireland"
    del wrong["targetConnections"][0]["params"]["stream"]
    wrong["flows"][0]["targetConnectionIds"] = ["nowhere"]
    params = wrong["flows"][1]["transformations"][0]["params"]
    params["profileSelectors"]["selectors"][0]["value"]["path"] = "person..name"
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(wrong, sort_keys=False))
    for command in (["check"], ["run", "--input", "-"], ["serve", "--port", "0"]):
        found = headrace(*command, "--config", config, data=tmp_path / "data")
        assert found.code == 2, found
        assert found.out == ""
        first, *lines = found.err.splitlines()
        assert first == "error: the configuration has 5 mistakes:", found.err
        assert len(lines) == 5
        places = (
            "colour", "connections[0].auth.params.region", "targetConnections[0].params.stream",
            "flows[0].targetConnectionIds[0]", "flows[1].transformations[0].params.profileSelectors",
        )  # fmt: skip
        for place in places:
            (line,) = (line for line in lines if line.strip().startswith(place))
            assert re.search(r"\(line \d+\)", line), line
        assert "allowed: settings, segments, connections, targetConnections, flows" in found.err
        assert "allowed: 'to-first', 'to-second'" in found.err
    assert not (tmp_path / "data").exists()


def test_a_flow_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    """2, with the ids to choose from."""
    config = write_configuration(tmp_path / "config.json", "http://127.0.0.1:9")
    found = headrace("check", "--config", config, "--flow", "third", data=tmp_path / "data")
    assert found.code == 2
    assert "first, second" in found.err
