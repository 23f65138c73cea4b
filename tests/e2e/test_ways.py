"""The ways to run: flows of a database on PostgreSQL, of applied files, of a file that rules; TLS; hourly runs."""

from __future__ import annotations

import signal
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from headrace.testing import Child, make_certificate, read_records
from tests.cli.commands import headrace
from tests.control.one_flow import one_flow
from tests.e2e.server import FLOWS, PLANTED, Server, Tutorial, member, serving, until
from tests.e2e.updates import SECRET, STREAMS, write_configuration
from tests.postgres import server as postgres_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def kinesis(tmp_path: Path) -> Iterator[Child]:
    """A scripted Kinesis that notes what it takes."""
    with Child(streams=dict.fromkeys(("one", *STREAMS.values()), 1), record=tmp_path / "received") as child:
        yield child


def arrived(folder: Path) -> list[int]:
    """Numbers of the messages that arrived."""
    return [msgspec.json.decode(each.data)["web"]["n"] for each in read_records(folder / "received")]


@pytest.mark.postgres
def test_on_postgresql(tmp_path: Path, kinesis: Child) -> None:
    """The whole tutorial with the database elsewhere; its URL's password is in no log."""
    with postgres_server() as url:
        env = {"HEADRACE_CONTROL_DATABASE": url}
        password = url.split(":")[2].partition("@")[0]
        with serving(tmp_path / "data", env=env) as server:
            tutorial = Tutorial(server, kinesis.url, "one")
            tutorial.map()
            until(lambda: tutorial.flow in server.flows(), server.running.said)
            server.post(member(1))
            until(lambda: arrived(tmp_path) == [1], server.running.said)
            assert password not in server.running.said() + server.running.shown()
            assert not (tmp_path / "data" / "control.db").exists()
            keys = server.keys
            server.running.signal(signal.SIGTERM)
            assert server.running.ended().code == 0
        with serving(tmp_path / "data", env=env, keys=keys) as server:
            until(lambda: server.flows() == {tutorial.flow: "running"}, server.running.said)


def test_files_are_applied_while_it_runs(tmp_path: Path, kinesis: Child) -> None:
    """Plan, apply, again without a change, drift, diff, export; the engine runs what was applied at once."""
    file, env = tmp_path / "headrace.yaml", {"PLANTED": PLANTED}
    file.write_text(one_flow(variable="PLANTED", stream="one", path="web.n", endpoint=kinesis.url))
    with serving(tmp_path / "data") as server:
        planned = headrace("apply", "-f", file, "--dry-run", data=server.data, env=env)
        assert planned.code == 0, planned.err
        assert "+ flows main (Main)" in planned.out
        assert "5 changes (not made: a dry run)" in planned.out
        assert server.flows() == {}
        assert headrace("apply", "-f", file, data=server.data, env=env).code == 0
        until(lambda: server.flows() == {"main": "running"}, server.running.said)
        server.post(member(1))
        until(lambda: arrived(tmp_path) == [1], server.running.said)
        assert "0 changes" in headrace("apply", "-f", file, data=server.data, env=env).out
        assert headrace("diff", "-f", file, data=server.data, env=env).code == 0
        server.made("POST", f"{FLOWS}/flows/main/action?op=disable")
        drift = headrace("diff", "-f", file, data=server.data, env=env)
        assert drift.code == 4
        assert "state: 'disabled' → (nothing)" in drift.out
        assert f"changed in the database by {server.keys.client_id}" in drift.out
        exported = headrace("export", data=server.data).out
        assert "secretKey: ${env:PLANTED}" in exported
        assert PLANTED not in drift.out + exported + planned.out
        (tmp_path / "again.yaml").write_text(exported)
        assert headrace("diff", "-f", tmp_path / "again.yaml", data=server.data, env=env).code == 0
        wrong = headrace("apply", "-f", file, data=server.data, env={"PLANTED": ""})
        assert wrong.code == 2


def test_a_file_that_rules_is_shown_and_not_changed(tmp_path: Path, kinesis: Child) -> None:
    """API and console show the file's resources, secrets masked; every change answers 409; the file is followed."""
    write_configuration(tmp_path / "config.json", kinesis.url)
    with serving(tmp_path / "data", "--config", tmp_path / "config.json") as server:
        items = server.made("GET", f"{FLOWS}/flows")["items"]
        assert {each["id"] for each in items} == set(STREAMS)
        connections = server.made("GET", f"{FLOWS}/connections")["items"]
        assert SECRET not in str(connections)
        assert all(each["auth"]["params"]["secretKey"] == "****" for each in connections)
        answer = server.call("POST", f"{FLOWS}/flows/first/action?op=disable")
        assert answer.status_code == 409
        assert "the configuration file rules" in answer.text
        assert server.call("GET", "/").status_code in (200, 307)
        document = msgspec.json.decode((tmp_path / "config.json").read_bytes())
        document["flows"] = [each for each in document["flows"] if each["id"] == "first"]
        (tmp_path / "config.json").write_bytes(msgspec.json.encode(document))
        until(lambda: set(server.flows()) == {"first"}, server.running.said)
        until(lambda: len(server.made("GET", f"{FLOWS}/flows")["items"]) == 1, server.running.said)


def test_both_listeners_speak_tls(tmp_path: Path) -> None:
    """With certificates; one that cannot be used is told at the start."""
    made = make_certificate(tmp_path)
    env = {
        "HEADRACE_API_CERTIFICATE": str(made.cert), "HEADRACE_API_CERTIFICATE_KEY": str(made.key),
        "HEADRACE_COLLECTION_CERTIFICATE": str(made.cert), "HEADRACE_COLLECTION_CERTIFICATE_KEY": str(made.key),
        "SSL_CERT_FILE": str(made.cert),
    }  # fmt: skip
    with serving(tmp_path / "data", env=env) as server:
        assert server.api.startswith("https://")
        assert server.collection.startswith("https://")
        trusted = ssl.create_default_context(cafile=str(made.cert))
        ready = server.collection.removesuffix("/collection") + "/readyz"
        for url in (f"{server.api}/openapi.json", ready):
            assert httpx.get(url, verify=trusted, timeout=60).status_code == 200
    env["HEADRACE_API_CERTIFICATE_KEY"] = str(tmp_path / "none.pem")
    said = headrace("serve", "--port", "0", data=tmp_path / "data", env=env)
    assert said.code == 2
    assert "HEADRACE_API_CERTIFICATE" in said.err


def test_runs_agree_with_metrics_and_ledger(tmp_path: Path, kinesis: Child) -> None:
    """After a stop, when the last look was taken, the runs' sums are those of the totals and of the ledger."""
    with serving(tmp_path / "data") as server:
        tutorial = Tutorial(server, kinesis.url, "one")
        tutorial.map()
        until(lambda: tutorial.flow in server.flows(), server.running.said)
        server.post(*(member(n) for n in range(20)), {**member(1), "segmentMembership": {}, "identityMap": _other()})
        until(lambda: len(arrived(tmp_path)) == 20, server.running.said)
        keys = server.keys
        server.running.signal(signal.SIGTERM)
        assert server.running.ended().code == 0
    totals = headrace("status", "--json", data=tmp_path / "data").json["totals"]["flows"][tutorial.flow]
    settled = headrace("ledger", "find", "--flow", tutorial.flow, "--json", "--limit", "100", data=tmp_path / "data")
    with serving(tmp_path / "data", keys=keys) as server:
        summaries = _runs(server, tutorial.flow)
        assert sum(each["outputRecordCount"] for each in summaries) == totals["delivered"] == len(settled.json) == 20
        assert sum(each["inputRecordCount"] for each in summaries) == totals["accepted"] == 21
        assert sum(each["skippedRecordCount"] for each in summaries) == sum(totals["held"].values()) == 1
        entities = summaries[0]["targetSummaries"][0]["entitySummaries"]
        assert [each["id"] for each in entities] == [f"segment:{tutorial.segment}"]
        item = server.made("GET", tutorial.path)["items"][0]
        assert item["lastRunDetails"]["state"] == "inProgress"


def _other() -> dict[str, list[dict[str, str]]]:
    return {"email": [{"id": "nobody@example.com"}]}


def _runs(server: Server, flow: str) -> list[dict[str, Any]]:
    items = server.made("GET", f"{FLOWS}/runs?property=flowId=={flow}")["items"]
    return [each["metrics"]["recordSummary"] for each in items]
