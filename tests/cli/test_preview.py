"""``headrace preview`` as a command: on a file without a folder, on a folder, and beside a serving process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.testing import Child
from tests.cli.commands import background, headrace
from tests.e2e.updates import STREAMS, configuration, updates, write_configuration

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def changed(url: str) -> dict[str, Any]:
    """The second flow tells of attributes too."""
    made: dict[str, Any] = configuration(url)
    made["flows"][1]["transformations"][0]["params"]["headrace"]["triggers"]["attribute"] = True
    return made


def test_a_preview_says_what_the_run_then_does(tmp_path: Path) -> None:
    """The same counts on the file alone, on the folder's journal, through a serving process, and by the real run."""
    lines = list(updates(31, 600, 40))
    file = tmp_path / "u.jsonl"
    file.write_bytes(b"\n".join(lines) + b"\n")
    with Child(streams=dict.fromkeys(STREAMS.values(), 1)) as kinesis:
        old, new = tmp_path / "old.json", tmp_path / "new.json"
        write_configuration(old, kinesis.url)
        new.write_bytes(msgspec.json.encode(changed(kinesis.url)))
        whole = ("preview", "--config", new, "--against", old, "--json")
        first = headrace(*whole, "--input", file, data=tmp_path / "none").json
        assert not (tmp_path / "none").exists()
        assert headrace("run", "-c", new, "-i", file, "-q", data=tmp_path / "run").code == 0
        real = headrace("status", "--json", data=tmp_path / "run").json["totals"]["flows"]
        assert {f["id"]: (f["new"]["messages"], f["new"]["bytes"]) for f in first["flows"]} == {
            flow_id: (totals["exported"], totals["bytes"]) for flow_id, totals in real.items()
        }

        data = tmp_path / "data"
        assert headrace("run", "-c", old, "-i", file, "-q", data=data).code == 0
        second = headrace("preview", "-c", new, "--recent", "50000", "--json", data=data).json
        assert [counts(f) for f in second["flows"]] == [counts(f) for f in first["flows"]]
        onto = headrace("preview", "-c", new, "-i", file, "--empty", "--json", data=data).json
        assert [counts(f) for f in onto["flows"]] == [counts(f) for f in first["flows"]]
        with background("serve", "-c", old, "--port", "0", "--no-api", data=data) as running:
            running.until(lambda: '"ready"' in running.said())
            shown = headrace("preview", "-c", new, "--recent", "600", data=data)
            third = headrace("preview", "-c", new, "--recent", "600", "--json", data=data).json
        assert [counts(f) for f in third["flows"]] == [counts(f) for f in first["flows"]]
        assert "600 inputs" in shown.out
        assert f"{first['flows'][1]['added']:,}" in shown.out
        assert "added, by input" in shown.out


def counts(flow: dict[str, Any]) -> list[int]:
    return [flow[name] for name in ("added", "removed", "altered", "same")]


def test_wrong_calls_say_what_to_do(tmp_path: Path) -> None:
    """Neither file nor journal, both, a file that is not there, a journal that is empty."""
    config = tmp_path / "c.json"
    write_configuration(config, "http://127.0.0.1:1")
    for arguments, words in (
        ((), "name either a file"),
        (("-i", "x", "--recent", "5"), "name either a file"),
        (("-i", tmp_path / "none"), "none"),
        (("--recent", "5"), "nothing is stored"),
    ):
        said = headrace("preview", "-c", config, *arguments, data=tmp_path / "data")
        assert said.code == 2, said
        assert words in said.err
