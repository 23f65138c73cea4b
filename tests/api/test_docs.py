"""docs/api.md can be pasted as it stands: its curl and its Python run against an application, and a real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from headrace.api.limits import Limits
from headrace.testing import Child, read_records
from tests.control.plane import ORG
from tests.e2e.server import serving, until

from .cases import DECLARED
from .serving import served
from .world import World

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text(encoding="utf-8")


def blocks(language: str, *, without: str = "", only: str = "") -> str:
    """The code of a language, in order; without a section, or of one alone."""
    sections = [each for each in PAGE.split("\n## ") if not without or not each.startswith(without)]
    sections = [each for each in sections if each.startswith(only)]
    return "\n".join(re.findall(rf"(?ms)^```{language}\n(.*?)^```", "\n## ".join(sections)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("language", "command"), [("bash", ["bash", "-euo", "pipefail"]), ("python", [sys.executable])]
)
def test_each_step_runs(w: World, tmp_path: Path, language: str, command: list[str]) -> None:
    """But for sending an update, which needs the collection; at the end the flow is gone again."""
    before = w.client.get("/data/foundation/flowservice/flows").json()["items"]
    script = tmp_path / "script"
    script.write_text(blocks(language, without="Send an update"), encoding="utf-8")
    with served(w.app) as url:
        environment = {
            **os.environ, "BASE": url, "ORG": ORG, "CLIENT_ID": w.first.client.id,
            "CLIENT_SECRET": w.first.client.secret.reveal(), "KINESIS_URL": "http://localhost:9",
            "no_proxy": "*",
        }  # fmt: skip
        done = subprocess.run(
            [*command, str(script)], env=environment, capture_output=True, text=True, timeout=50, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert w.client.get("/data/foundation/flowservice/flows").json()["items"] == before
    actions = [each["action"] for each in w.client.get("/headrace/audit?kind=flows&limit=6").json()["items"]]
    assert actions == ["delete", "update", "enable", "disable", "update", "update"]
    assert [name for name, _ in w.engine.asked if name == "backfill-mapped"] == ["backfill-mapped"]


GATES = {
    "bash": 'while [ ! -e "$GATE" ]; do sleep 0.05; done\n',
    "python": 'import time\nwhile not os.path.exists(os.environ["GATE"]): time.sleep(0.05)\n',
}
"""Waits, before the flow is changed and removed, until the stream was looked at."""


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("language", "command", "person"),
    [("bash", ["bash", "-euo", "pipefail"], "ann"), ("python", [sys.executable], "bo")],
)
def test_each_step_runs_on_a_real_server(tmp_path: Path, language: str, command: list[str], person: str) -> None:
    """All of it, an engine and a Kinesis behind: the update that is sent is on the stream, and nothing is left."""
    before, _, after = blocks(language).partition(blocks(language, only="Change it"))
    script, gate = tmp_path / "script", tmp_path / "gate"
    script.write_text(before + GATES[language] + blocks(language, only="Change it") + after, encoding="utf-8")
    recording = tmp_path / "received"
    with Child(streams={"profiles": 2}, record=recording) as kinesis, serving(tmp_path / "data") as server:
        environment = {
            **os.environ, "BASE": server.api, "COLLECTION": server.collection.removesuffix("/collection"),
            "ORG": server.keys.organisation, "CLIENT_ID": server.keys.client_id,
            "CLIENT_SECRET": server.keys.client_secret, "KINESIS_URL": kinesis.url, "GATE": str(gate),
            "no_proxy": "*",
        }  # fmt: skip
        with (tmp_path / "words").open("wb") as words:
            child = subprocess.Popen([*command, str(script)], env=environment, stdout=words, stderr=words)
        try:
            until(
                lambda: (recording.exists() and list(read_records(recording)) != []) or child.poll() is not None,
                server.running.said,
            )
            gate.touch()
            child.wait(100)
        finally:
            child.kill()
            child.wait()
        said = (tmp_path / "words").read_text()
        assert child.returncode == 0, said + server.running.said()
        until(lambda: server.flows() == {}, server.running.said)
        assert server.made("GET", "/data/foundation/flowservice/flows")["items"] == []
    (record,) = read_records(recording)
    message = msgspec.json.decode(record.data)
    assert message["identityMap"] == {"email": [{"id": f"{person}@example.com"}]}
    assert message["segmentMembership"]["CRM"]["vip"]["status"] == "realized"
    assert message["person"]["name"].keys() == {"lastName"}


def test_it_says_the_limits() -> None:
    """As they are."""
    limits = Limits()
    words = (
        f"at most {limits.body_bytes // 1024**2} MiB and has {limits.body_timeout_s:g} s to arrive; one address may "
        f"make {limits.requests_per_s:g} requests a second, and two sign-ins."
    )
    assert words in PAGE
    assert limits.sign_ins_per_s == 2
    assert len(DECLARED) > 70
