"""The wheels, each installed into an environment of its own and run there: the plain one, and the compiled one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

import pytest

from headrace.testing import Child, canonical, content, fold, judge, read_records
from tests.cli.commands import environment
from tests.e2e.updates import PLANS, STREAMS, write_configuration, write_updates

ROOT = Path(__file__).parents[1]
BOUND_S = 500

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * BOUND_S)]


class Installed(NamedTuple):
    """A wheel, and the command that it installed."""

    wheel: Path
    command: Path


def call(*command: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run something to its good end."""
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=BOUND_S, check=False,
        env={**os.environ, **settings},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(params=["plain", "compiled"])
def installed(request: pytest.FixtureRequest, tmp_path: Path) -> Installed:
    """A wheel built, and installed where no Headrace is; what it needs is that of this environment."""
    settings = {}
    if request.param == "compiled":
        if shutil.which("cc") is None or shutil.which("make") is None:
            pytest.skip("there is no C compiler here")
        call("make", "--silent", "--assume-old=.venv/.dev", "build/compiled/.done")
        settings["HEADRACE_COMPILED"] = str(ROOT / "build" / "compiled")
    dist, place = tmp_path / "dist", tmp_path / "place"
    call(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", dist, **settings)
    (wheel,) = dist.glob("*.whl")
    call(sys.executable, "-m", "venv", "--without-pip", place)
    call(
        sys.executable, "-m", "pip", "--python", place / "bin" / "python", "install", "--quiet", "--no-index",
        "--no-deps", wheel,
    )  # fmt: skip
    # What an editable install of this environment adds is in files that are not read from here.
    (packages,) = (place / "lib").glob("python*/site-packages")
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Installed(wheel, place / "bin" / "headrace")


def test_a_wheel_installed_apart_runs(installed: Installed, tmp_path: Path) -> None:
    """It says which core it has, is not the sources of this folder, and delivers what an independent fold expects."""
    compiled = not installed.wheel.name.endswith("-none-any.whl")
    found = call(
        installed.command.with_name("python"), "-c", "import headrace.core.step as s; print(s.__file__)"
    ).stdout
    assert found.startswith(str(installed.command.parents[1])), found
    assert found.strip().endswith(".so") == compiled, found
    said = call(installed.command, "version").stdout
    assert said.endswith("(compiled core)\n" if compiled else "(plain Python core)\n"), said

    lines = write_updates(tmp_path / "input.jsonl", 1, 5000, 300)
    with Child(streams=dict.fromkeys(STREAMS.values(), 2), record=tmp_path / "received", keep=False) as kinesis:
        config = write_configuration(tmp_path / "config.json", kinesis.url)
        call(
            installed.command, "run", "--config", config, "--input", tmp_path / "input.jsonl",
            **environment(tmp_path / "data"),
        )  # fmt: skip
    folded = fold(lines, PLANS, identify=canonical)
    verdict = judge(
        {STREAMS[flow]: folded.expected(flow) for flow in PLANS}, read_records(tmp_path / "received"),
        identify=content, joins={STREAMS[flow]: folded.joins[flow] for flow in PLANS},
    )  # fmt: skip
    assert verdict.ok, verdict
    assert verdict.records == verdict.expected > 0
