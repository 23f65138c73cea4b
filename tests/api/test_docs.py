"""docs/api.md can be pasted as it stands: its curl and its Python run against a served application."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.api.limits import Limits
from tests.control.plane import ORG

from .cases import DECLARED
from .serving import served
from .world import World

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text(encoding="utf-8")


def blocks(language: str, *, without: str = "") -> str:
    """The code of a language, in order; without a section."""
    sections = [each for each in PAGE.split("\n## ") if not without or not each.startswith(without)]
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
