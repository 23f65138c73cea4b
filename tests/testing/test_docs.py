"""docs/testing.md: its Python runs, and its tables say what the code says."""

from __future__ import annotations

import asyncio
import re
import textwrap
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from headrace.testing import Fault, Script
from headrace.testing.recording import Recorder, Written
from headrace.testing.script import FaultKind

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
LINE = b'{"identityMap":{"A":[{"id":"1"}]},"person":{"name":"x"},"segmentMembership":{"ups":{"vip":{"status":"realized","lastQualificationTime":"2026-01-01T00:00:00Z"}}}}'  # noqa: E501
MESSAGE = {
    "person": {"name": "x"},
    "segmentMembership": {"ups": {"vip": {"lastQualificationTime": "2026-01-01T00:00:00Z", "status": "realized"}}},
    "identityMap": {"a": [{"id": "1"}]},
}


def recording(path: Path, messages: list[Any]) -> Path:
    recorder = Recorder(path)
    recorder.append(
        [Written(n, 1, n, "profiles", "", "", "k", msgspec.json.encode(m)) for n, m in enumerate(messages)]
    )
    recorder.close()
    return path


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_blocks_run(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block of Python on the page runs as it stands."""
    monkeypatch.chdir(tmp_path)
    with_ids = [{"_headrace": {"exportId": name}} for name in ("e1", "e3", "e2")]
    messages = [MESSAGE] if "fold(lines" in BLOCKS[number] else with_ids
    scope: dict[str, Any] = {"lines": [LINE], "path": recording(tmp_path / "recorded", messages)}
    code = "async def page():\n" + textwrap.indent(BLOCKS[number], "    ") + "\n    return locals()"
    exec(code, scope)
    result = asyncio.run(scope["page"]())
    if "verdict" in result:
        assert result["verdict"].ok, result["verdict"]


def test_every_kind_and_condition_is_on_the_page() -> None:
    """The page names every kind of fault and every condition; a script file of the page's kind can be read."""
    for name in get_args(FaultKind):
        assert f"`{name}`" in PAGE
    parameters = {"kind", "code", "status", "message", "delay_s", "count_delta"}
    for name in set(Fault.__struct_fields__) - parameters:
        assert f"`{name}`" in PAGE
    script = Script(faults=(Fault(kind="slow", delay_s=1, keys=("k",)),), seed=3)
    assert msgspec.json.decode(msgspec.json.encode(script), type=Script) == script
