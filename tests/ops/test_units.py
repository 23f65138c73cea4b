"""The service unit and the container file say what is true of the command, its settings and its exit codes."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
import typer

from headrace import settings
from headrace.cli.main import app

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "ops" / "systemd" / "headrace.service"
CONTAINER = ROOT / "ops" / "container" / "Containerfile"
VARIABLES = {row.variable: row for row in settings.TABLE}
ANALYZE = shutil.which("systemd-analyze")


def _unit() -> dict[str, dict[str, list[str]]]:
    """Sections to names to values; the last continues no line."""
    found: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith(("#", ";")):
            continue
        if head := re.fullmatch(r"\[(\w+)\]", line):
            section = head[1]
            continue
        name, equals, value = line.partition("=")
        assert equals, line
        assert re.fullmatch(r"[A-Z]\w+", name), line
        found.setdefault(section, {}).setdefault(name, []).append(value)
    return found


def _serves(words: list[str]) -> None:
    """The words are a call of a command that there is."""
    command = typer.main.get_command(app)
    assert words[0] in command.commands  # type: ignore[attr-defined]
    command.commands[words[0]].make_context(words[0], words[1:])  # type: ignore[attr-defined]


def test_the_unit_starts_the_command_with_settings_that_there_are() -> None:
    """Command, variables with allowed values, and the folder that the unit itself makes."""
    service = _unit()["Service"]
    words = shlex.split(service["ExecStart"][0])
    assert words[0].endswith("/bin/headrace")
    _serves(words[1:])
    given = dict(each.split("=", 1) for each in service["Environment"])
    assert given.keys() <= VARIABLES.keys()
    loaded = settings.load(environ=given)
    assert str(loaded.data_dir) == f"/var/lib/{service['StateDirectory'][0]}"


def test_the_unit_stops_as_the_command_does() -> None:
    """It waits longer than the drain and the grace, and does not start again what has a mistake."""
    service = _unit()["Service"]
    assert int(service["TimeoutStopSec"][0]) > settings.Settings().drain_timeout_s + 5
    assert service["KillMode"] == ["mixed"]
    assert service["RestartPreventExitStatus"] == ["2"]
    assert "2" in (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not here; the unit was only parsed")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    """``systemd-analyze verify``, with a command that is there, and a low exposure."""
    assert ANALYZE is not None
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text(encoding="utf-8").replace("/usr/local/headrace/bin/headrace", "/bin/true"))
    done = subprocess.run(
        [ANALYZE, "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
    judged = subprocess.run(
        [ANALYZE, "security", "--offline=true", "--threshold=30", str(copy)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert judged.returncode == 0, judged.stdout[-300:]


def test_the_environment_file_names_settings_that_there_are() -> None:
    """Each line, although it is a comment."""
    lines = re.findall(r"(?m)^# (HEADRACE_\w+)=", UNIT.with_name("headrace.env").read_text(encoding="utf-8"))
    assert len(lines) > 5
    assert set(lines) <= VARIABLES.keys()


def _instructions() -> list[tuple[str, str]]:
    text = re.sub(r"(?m)^\s*#.*\n", "", CONTAINER.read_text(encoding="utf-8"))
    text = re.sub(r"\\\n\s*", " ", text)
    found = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    return [(name, rest) for name, rest in found]


def test_the_container_file_is_whole() -> None:
    """Known instructions, files that there are or that the wheel's target makes, no root, plain forms."""
    known = {"ARG", "FROM", "RUN", "COPY", "ENV", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK",
             "ENTRYPOINT", "CMD"}  # fmt: skip
    given = _instructions()
    assert {name for name, _ in given} <= known
    assert [name for name, _ in given][:2] == ["ARG", "FROM"]
    stages = [rest.split(" AS ")[1] for name, rest in given if name == "FROM" and " AS " in rest]
    for name, rest in given:
        if name == "COPY":
            *sources, _ = [word for word in rest.split() if not word.startswith("--")]
            if "--from=" in rest:
                assert re.search(r"--from=(\w+)", rest)[1] in stages  # type: ignore[index]
            else:
                assert all((ROOT / source).exists() or source.startswith("dist/") for source in sources)
    assert [rest for name, rest in given if name == "USER"][-1] not in ("root", "0")
    assert "latest" not in " ".join(rest for name, rest in given if name == "FROM")


def test_the_container_runs_the_command_with_settings_that_there_are() -> None:
    """Entry point, command, variables, ports and the health page."""
    given = dict(_instructions())
    whole = msgspec.json.decode(given["ENTRYPOINT"]) + msgspec.json.decode(given["CMD"])
    assert whole[0] == "headrace"
    _serves(whole[1:])
    variables = dict(word.split("=", 1) for word in given["ENV"].split() if word.startswith("HEADRACE_"))
    assert variables.keys() <= VARIABLES.keys()
    loaded = settings.load(environ=variables)
    assert str(loaded.data_dir) == given["VOLUME"]
    assert given["EXPOSE"].split() == [str(loaded.collection_port), str(loaded.api_port)]
    check = msgspec.json.decode(given["HEALTHCHECK"].partition("CMD ")[2])
    compile(check[2], "healthcheck", "exec")
    assert f":{loaded.collection_port}/healthz" in check[2]
