"""A command that is begun warm is what a shell begins: a process of its own, with all that was given to it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.cli import warm
from tests.cli.commands import Said, background, environment, headrace

pytestmark = [pytest.mark.slow]

_SHOW = """
import os, sys
assert os.getppid() != int(os.environ["ASKED_BY"]), "it has a keeper"
print(sys.argv[1:], os.getcwd(), sorted(os.environ), sys.stdin.read(), sorted(os.listdir("/proc/self/fd"))[:3])
print(len(os.listdir("/proc/self/fd")), file=sys.stderr)
sys.exit(7)
"""


def _ran(module: str, folder: Path, settings: Mapping[str, str], *arguments: str) -> Said:
    """What a module says that is begun warm in a folder."""
    (folder / "input").write_bytes(b"given")
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        (folder / "input").open("rb") as given,
    ):
        command = warm.begin(
            *arguments, environment=settings, stdin=given, stdout=out, stderr=err, folder=folder, module=module
        )
        code = command.wait(100)
        assert command.poll() == code
        out.seek(0)
        err.seek(0)
        return Said(code, out.read().decode(), err.read().decode())


@pytest.mark.parametrize(
    ("arguments", "code"), [(("version",), 0), (("status", "--json"), 2), (("statu",), 2), (("run", "--help"), 0)]
)
def test_it_says_what_a_cold_one_says(arguments: tuple[str, ...], code: int, tmp_path: Path) -> None:
    """Its words on both streams and its exit code."""
    said = headrace(*arguments, data=tmp_path)
    assert said.code == code
    assert said == headrace(*arguments, data=tmp_path, cold=True)


def test_it_has_what_was_given_to_it(tmp_path: Path) -> None:
    """Arguments, folder, environment and streams, and nothing else that is open; its exit code is told."""
    (tmp_path / "show.py").write_text(_SHOW)
    settings = {"ASKED_BY": str(os.getpid()), "PLANTED": "x"}
    said = _ran("show", tmp_path, settings, "a", "b c")
    assert said.code == 7
    assert said.out == f"{['a', 'b c']} {tmp_path} {sorted(settings)} given {['0', '1', '2']}\n"
    # The three, and the folder that is being listed.
    assert said.err == "4\n"


def test_it_is_ended_by_its_pid(tmp_path: Path) -> None:
    """A signal ends it, and which one is told; after its end nothing is signalled."""
    with background("serve", "--port", "0", data=tmp_path) as running:
        os.kill(running.pid, 0)
        running.signal(signal.SIGKILL)
        assert running.ended().code == -signal.SIGKILL
        with pytest.raises(ProcessLookupError):
            os.kill(running.pid, 0)


def test_what_is_read_while_modules_are_imported_begins_cold(tmp_path: Path) -> None:
    """A terminal's width is read then: with another one nothing is forked that has read it."""
    settings = environment(tmp_path)
    assert warm.possible(settings)
    assert warm.possible({**settings, "PLANTED": "x", "HEADRACE_LOG_LEVEL": "debug"})
    assert not warm.possible({**settings, "COLUMNS": "80"})
    assert not warm.possible({**settings, "NO_COLOR": "1"})


def test_it_ends_with_the_process_that_asked(tmp_path: Path) -> None:
    """The server's end of the socket is closed by the kernel, so that a killed pytest leaves nothing."""
    code = (
        "import os, pathlib, signal; from tests.cli import commands\n"
        f"commands.headrace('version', data=pathlib.Path({str(tmp_path)!r}))\n"
        "print(pathlib.Path(f'/proc/self/task/{os.getpid()}/children').read_text(), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=warm.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (server,) = done.stdout.split()
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(int(server))
        assert select.select([handle], [], [], 100)[0]
        os.close(handle)
