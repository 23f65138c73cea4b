"""The disk fails under a running process: it stops with a clear error, and what was acknowledged is there afterwards.

The updates are posted one request after the other, each with a key of its own. What was answered well must be
stored; the rest is posted again to the next process, under the same keys. Then the streams hold exactly what the
updates come to, judged against an independent fold.
"""

from __future__ import annotations

import http.client
import re
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import pytest

from headrace.testing import Child
from tests.cli.commands import HEADRACE, Running, background, environment, headrace
from tests.e2e.disks import file_disk, resize, seal, small_disk, turn_read_only
from tests.e2e.updates import STREAMS, judged, updates, write_configuration, write_updates

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SIZE: Final = 100
"""Updates of one request."""
PLACES: Final = {"HEADRACE_MEMORY_BYTES": "32MiB"}


class Sender:
    """Posts updates in order, and knows which were answered well."""

    def __init__(self, lines: list[bytes]) -> None:
        self.lines = lines
        self.answered = 0
        self.statuses: list[int] = []

    def post(self, port: int) -> None:
        """Post what was not answered well, until one is not."""
        while self.answered < len(self.lines):
            try:
                status = self._post_one(port)
            except (OSError, http.client.HTTPException):
                return
            self.statuses.append(status)
            if status != 207:
                return
            self.answered += SIZE

    def _post_one(self, port: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            body = b'{"messages":[' + b",".join(self.lines[self.answered : self.answered + SIZE]) + b"]}"
            named = {"Content-Type": "application/json", "Idempotency-Key": f"lines-{self.answered}"}
            connection.request("POST", "/collection/batch/web", body, named)
            answer = connection.getresponse()
            told = answer.read()
            if answer.status == 207:
                assert all("status" not in one for one in msgspec.json.decode(told)["responses"]), told
            return answer.status
        finally:
            connection.close()


@contextmanager
def serving(folder: Path, data: Path, *, file_bytes: int = 0) -> Iterator[tuple[Running, int]]:
    """A process that serves, and its port; with *file_bytes* no file of it may grow larger."""
    arguments = ("serve", "--config", folder / "config.json", "--port", "0")
    with background(*arguments, data=data, env=PLACES) as running:
        if file_bytes:
            resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
        running.until(lambda: '"ready"' in running.said())
        found = re.search(r"http://127\.0\.0\.1:(\d+)/collection/", running.said())
        assert found, running.said()
        yield running, int(found[1])


@pytest.fixture
def kinesis(tmp_path: Path) -> Iterator[Child]:
    """Where the exports go; its recording is ``received``."""
    with Child(streams=dict.fromkeys(STREAMS.values(), 2), record=tmp_path / "received", keep=False) as child:
        write_configuration(tmp_path / "config.json", child.url)
        yield child


def hold(folder: Path, lines: list[bytes]) -> None:
    """The streams received what the updates come to: nothing lost, nothing else, in order."""
    verdict = judged(lines, folder / "received")
    assert verdict.ok, verdict


def stopped_by_its_disk(running: Running, *words: str) -> None:
    """It has ended with 2, and said that it was the disk, and what to do."""
    said = running.ended()
    assert said.code == 2, said
    assert "cannot be read or written" in said.err, said.err
    assert "everything acknowledged is kept" in said.err, said.err
    assert any(word in said.err for word in words), said.err


def finish(folder: Path, data: Path, sender: Sender, *, stored: int) -> None:
    """A process on the mended disk holds all that was answered well; the rest is posted, and all is judged."""
    totals = headrace("status", "--json", data=data).json["totals"]
    assert totals["accepted"] >= stored, "what was acknowledged is not there"
    assert totals["accepted"] <= stored + 2 * SIZE
    with serving(folder, data) as (running, port):
        sender.post(port)
        assert sender.answered == len(sender.lines), sender.statuses[-1]
        running.signal(signal.SIGTERM)
        assert running.ended().code == 0
    totals = headrace("status", "--json", data=data).json["totals"]
    assert totals["accepted"] == len(sender.lines)
    assert headrace("journal", "replay", data=data).code == 0
    hold(folder, sender.lines)


@pytest.mark.parametrize("how", ["full", "limit"])
def test_a_full_disk_stops_it_and_loses_nothing(how: str, tmp_path: Path, kinesis: Child) -> None:
    """Senders are told 503 or nothing, the process ends with 2; with space again everything acknowledged is there."""
    data, sender = tmp_path / "data", Sender(list(updates(1, 30_000, 3000)))
    limited = how == "limit"
    with small_disk(data, 6) if not limited else _folder(data):
        with serving(tmp_path, data, file_bytes=1 << 20 if limited else 0) as (running, port):
            sender.post(port)
            assert SIZE <= sender.answered < len(sender.lines), "the disk was not full"
            assert set(sender.statuses) <= {207, 503}, set(sender.statuses)
            stopped_by_its_disk(running, "File too large" if limited else "No space left")
        if not limited:
            still = headrace("serve", "--config", tmp_path / "config.json", "--port", "0", data=data, env=PLACES)
            assert still.code == 2, still
            assert "No space left" in still.err, still.err
            resize(data, 400)
        finish(tmp_path, data, sender, stored=sender.answered)


@contextmanager
def _folder(path: Path) -> Iterator[None]:
    path.mkdir()
    yield


def test_a_run_over_a_file_goes_on_where_the_full_disk_stopped_it(tmp_path: Path, kinesis: Child) -> None:
    """`headrace run` ends with 2 and is simply called again: it reads on, and nothing is missing."""
    lines = write_updates(tmp_path / "input.jsonl", 2, 30_000, 3000)
    arguments = ["run", "--config", str(tmp_path / "config.json"), "--input", str(tmp_path / "input.jsonl")]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    stopped = subprocess.run(
        [HEADRACE, *arguments], env=environment(tmp_path / "data", PLACES), capture_output=True, text=True,
        timeout=200, check=False, preexec_fn=limit,
    )  # fmt: skip
    assert stopped.returncode == 2, stopped.stderr
    assert "File too large" in stopped.stderr
    before = headrace("status", "--json", data=tmp_path / "data").json["totals"]["accepted"]
    assert 0 < before < len(lines)
    again = headrace(*arguments, data=tmp_path / "data")
    assert again.code == 0, again.err
    assert headrace("status", "--json", data=tmp_path / "data").json["totals"]["accepted"] == len(lines)
    hold(tmp_path, lines)


def test_a_disk_that_turns_read_only_stops_it_and_loses_nothing(tmp_path: Path, kinesis: Child) -> None:
    """As a full disk; a process cannot start on it, and goes on once it is writable."""
    disk, sender = tmp_path / "disk", Sender(list(updates(3, 12_000, 1000)))
    image = tmp_path / "image"
    with file_disk(disk, image, 200):
        data = disk / "data"
        with serving(tmp_path, data) as (running, port):
            first = Sender(sender.lines[:6000])
            first.post(port)
            assert first.answered == 6000
            sender.answered = 6000
            turn_read_only(disk)
            sender.post(port)
            assert sender.answered == 6000, "an update was acknowledged that cannot have been stored"
            assert set(sender.statuses) <= {503}, sender.statuses
            stopped_by_its_disk(running, "Read-only", "Input/output error")
        copy = tmp_path / "copy"
        shutil.copytree(data, copy, ignore=lambda _, names: [name for name in names if name.endswith(".sock")])
    finish(tmp_path, copy, sender, stored=6000)


def test_a_read_only_disk_is_refused_at_the_start(tmp_path: Path, kinesis: Child) -> None:
    """Every command that needs the folder says so and ends with 2; the folder is as it was."""
    disk = tmp_path / "disk"
    with small_disk(disk, 100):
        data = disk / "data"
        lines = write_updates(tmp_path / "input.jsonl", 4, 500, 50)
        arguments = ("run", "--config", tmp_path / "config.json", "--input", tmp_path / "input.jsonl")
        assert headrace(*arguments, data=data).code == 0
        seal(disk)
        for command in (arguments, ("serve", "--config", tmp_path / "config.json", "--port", "0"), ("status",)):
            said = headrace(*command, data=data)
            assert said.code == 2, said
            assert "Read-only" in said.err, said.err
        said = headrace(*arguments, data=disk / "other")
        assert said.code == 2, said
        assert "Read-only" in said.err, said.err
    hold(tmp_path, lines)


def test_a_second_process_and_an_older_version_are_refused(tmp_path: Path, kinesis: Child) -> None:
    """While one process serves another ends with 2 and names it; so does one that does not know the format."""
    data, sender = tmp_path / "data", Sender(list(updates(5, 300, 20)))
    write_updates(tmp_path / "input.jsonl", 6, 10, 5)
    arguments = ("run", "--config", tmp_path / "config.json", "--input", tmp_path / "input.jsonl")
    with serving(tmp_path, data) as (running, port):
        second = headrace(*arguments, data=data)
        assert second.code == 2, second
        assert f"process {running.pid}" in second.err
        sender.post(port)
        assert sender.answered == 300, "the first process is not as it was"
        running.signal(signal.SIGTERM)
        assert running.ended().code == 0
    marker = data / "FORMAT"
    known = marker.read_bytes()
    marker.write_bytes(b'{"format":99,"product":"headrace"}\n')
    refused = headrace(*arguments, data=data)
    assert refused.code == 2, refused
    assert "format 99" in refused.err
    marker.write_bytes(known)
    finish(tmp_path, data, sender, stored=300)
