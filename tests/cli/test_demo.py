"""``headrace demo`` as a process, with its own local Kinesis."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.cli.commands import background, headrace

pytestmark = [pytest.mark.slow, pytest.mark.moto]
WIDE = {"COLUMNS": "2000"}
_STATUSES = {"realized", "exited"}


def _messages(out: str) -> list[dict[str, Any]]:
    """The messages in their frames, decoded."""
    inside = "\n".join(line[2:-1].rstrip() for line in out.splitlines() if line.startswith("│"))
    return [msgspec.json.decode(part) for part in re.findall(r"(?ms)^\{$.*?^\}$", inside)]


def _figures(out: str) -> dict[str, int]:
    """The figures of the summary, by name."""
    found = re.findall(r"(?m)^ *([a-z][a-z ]*[a-z])  +([\d,]+)\b", out)
    return {name: int(figure.replace(",", "")) for name, figure in found}


@pytest.mark.timeout(240)
def test_the_demo_ends_by_itself_with_messages_read_back(tmp_path: Path) -> None:
    """0 without a terminal; messages are valid JSON of AEP's shape, and the summary's figures fit together."""
    done = headrace("demo", "--once", "--profiles", "300", data=tmp_path, env=WIDE)
    assert done.code == 0, done
    messages = _messages(done.out)
    assert len(messages) >= 3, done.out
    for message in messages:
        assert list(message)[-2:] == ["segmentMembership", "identityMap"], message
        assert all(entry["id"] for entries in message["identityMap"].values() for entry in entries)
        for membership in message["segmentMembership"]["ups"].values():
            assert membership["status"] in _STATUSES
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", membership["lastQualificationTime"])
    figures = _figures(done.out)
    assert figures["delivered"] == figures["read back"] == figures["exports"] > 100, done.out
    assert figures["out of order"] == figures["sent again"] == 0
    # What it left behind can be looked at with the commands it names.
    (command,) = re.findall(r"headrace (dead-letters list --data-dir \S+)", done.out)
    assert len(headrace(*command.split(), "--json", data=tmp_path).json) == figures["refused"] == 5
    totals = headrace("status", "--json", data=tmp_path / "demo-once").json["totals"]
    assert totals["received"] == figures["profile updates"]
    assert headrace("journal", "replay", data=tmp_path / "demo-once").code == 0


@pytest.mark.timeout(240)
def test_an_interrupted_demo_ends_in_order(tmp_path: Path) -> None:
    """Ctrl-C while messages arrive drains, shows the summary and ends with 0."""
    with background("demo", "--profiles", "20000", data=tmp_path, env=WIDE) as running:
        running.until(lambda: "why" in running.shown())
        second = headrace("demo", "--once", data=tmp_path)
        assert (second.code, "a demo runs already" in second.err) == (2, True), second
        running.signal(signal.SIGINT)
        done = running.ended()
    assert done.code == 0, done
    figures = _figures(done.out)
    assert figures["delivered"] == figures["read back"] == figures["exports"] > 0, done.out
    assert figures["out of order"] == 0
