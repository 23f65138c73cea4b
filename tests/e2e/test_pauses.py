"""A pause by command, and a flow that is disabled with a choice: seen and lifted through the API, nothing lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.testing import Child, read_records
from tests.cli.commands import headrace
from tests.e2e.server import Server, Tutorial, member, serving, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def numbers(folder: Path) -> set[int]:
    """The numbers of the messages that arrived."""
    return {msgspec.json.decode(each.data)["web"]["n"] for each in read_records(folder / "received")}


def standing(server: Server, flow: str) -> dict[str, Any]:
    """How the flow stands."""
    found: dict[str, Any] = server.made("GET", f"/headrace/flows/{flow}")
    return found


def skipping(server: Server, flow: str, numbers: range) -> None:
    """Post people, and wait until the flow has skipped each of them."""
    server.post(*(member(n, person=f"p{n}") for n in numbers))
    until(lambda: standing(server, flow)["skipped"] == len(numbers), server.running.said)


def test_enabling_lifts_a_pause_and_makes_up_for_it(tmp_path: Path) -> None:
    """Whether the flow was paused by command or disabled with the choice to skip, everybody arrives in the end."""
    with (
        Child(streams={"one": 2}, record=tmp_path / "received") as kinesis,
        serving(tmp_path / "data") as server,
    ):
        tutorial = Tutorial(server, kinesis.url, "one")
        tutorial.map()
        flow = tutorial.flow
        until(lambda: flow in server.flows(), server.running.said)
        paused = headrace("flows", "pause", flow, "--mode", "skip", data=tmp_path / "data")
        assert paused.code == 0, paused.err
        skipping(server, flow, range(5))
        told = standing(server, flow)
        assert (told["paused"], told["pause"]["mode"], told["pause"]["reason"]) == (True, "skip", "operator")
        lifted = server.made("POST", f"{tutorial.path}/action?op=enable&catchUp=true")
        assert [each["flow"] for each in lifted["backfills"]] == [flow]
        until(lambda: numbers(tmp_path) == set(range(5)), server.running.said)
        server.made("POST", f"{tutorial.path}/action?op=disable&changes=skip")
        until(lambda: server.flows() == {flow: "paused"}, server.running.said)
        skipping(server, flow, range(10, 13))
        assert standing(server, flow)["pause"] is None
        made = server.made("POST", f"{tutorial.path}/action?op=enable&catchUp=true")
        assert len(made["backfills"]) == 1, made
        until(lambda: numbers(tmp_path) == {*range(5), 10, 11, 12}, server.running.said)
        assert (standing(server, flow)["skipped"], standing(server, flow)["paused"]) == (0, False)
