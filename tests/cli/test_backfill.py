"""``headrace backfill`` as a process: on a folder that is served, and on one that nobody holds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.testing import Child, read_records
from tests.cli.commands import background, headrace
from tests.e2e.updates import STREAMS, updates, write_configuration

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


class Place:
    """A folder with a configuration, updates that were read, and the streams."""

    def __init__(self, folder: Path, kinesis: Child) -> None:
        self.folder, self.data, self.config = folder, folder / "data", folder / "config.json"
        write_configuration(self.config, kinesis.url)
        self.whole = self.config.read_text()
        (folder / "updates.jsonl").write_bytes(b"\n".join(updates(1, 401, 40)) + b"\n")

    def change(self, *flows: int) -> None:
        """Only these flows are configured."""
        document = msgspec.json.decode(self.whole)
        document["flows"] = [document["flows"][index] for index in flows]
        self.config.write_bytes(msgspec.json.encode(document))

    def run(self) -> None:
        done = headrace("run", "-c", self.config, "-i", self.folder / "updates.jsonl", "-q", data=self.data)
        assert done.code == 0, done.err

    def received(self, flow: str) -> list[bytes]:
        found = read_records(self.folder / "received")
        return [record.data for record in found if record.stream == STREAMS[flow]]

    def status(self, *arguments: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = headrace("backfill", "status", "--json", *arguments, data=self.data).json
        return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Child(streams=dict.fromkeys(STREAMS.values(), 2), record=tmp_path / "received") as kinesis:
        yield Place(tmp_path, kinesis)


def test_a_flow_that_is_added_to_the_file_is_backfilled_by_the_next_run(place: Place) -> None:
    """File mode: nothing else is needed; status tells what was done, after the process has ended too."""
    place.change(0)
    place.run()
    assert place.received("second") == []
    place.change(0, 1)
    place.run()
    (run,) = place.status()
    assert (run["flow"], run["state"], run["automatic"], run["eta_s"]) == ("second", "done", True, None)
    assert run["exported"] == len(place.received("second")) > 5
    shown = headrace("backfill", "status", data=place.data)
    assert re.search(r"r1 +second +backfill +done", shown.out), shown.out
    assert place.status("--flow", "first") == []


def test_a_resend_without_a_process_works_to_its_end(place: Place) -> None:
    """With --config it is done here; without, it says what to do."""
    place.run()
    before = len(place.received("first"))
    refused = headrace("backfill", "start", "first", "--resend", data=place.data)
    assert (refused.code, "headrace serve" in refused.err) == (2, True)
    done = headrace("backfill", "start", "first", "--resend", "-c", place.config, "--json", data=place.data)
    assert done.code == 0, done.err
    assert (done.json["state"], done.json["kind"]) == ("done", "resend")
    assert len(place.received("first")) == before + done.json["exported"] > before
    wrong = headrace("backfill", "start", "third", "-c", place.config, data=place.data)
    assert (wrong.code, "allowed: first, second" in wrong.err) == (2, True)


def test_a_served_folder(place: Place) -> None:
    """Start with a rate, pause, resume, wait to the end, cancel what has ended."""
    place.run()
    with background("serve", "--config", place.config, "--port", "0", data=place.data) as serving:
        serving.until(lambda: '"ready"' in serving.said())
        begun = headrace("backfill", "start", "first", "--resend", "--rate", "1", "--json", data=place.data).json
        assert (begun["run"], begun["rate"]) == ("r1", 1.0)
        assert headrace("backfill", "pause", "r1", "--json", data=place.data).json["state"] == "paused"
        exported = place.status()[0]["exported"]
        whole = headrace("backfill", "start", "first", "--resend", "--wait", "--json", data=place.data).json
        assert (whole["run"], whole["state"]) == ("r2", "done")
        assert place.status("r1")[0]["exported"] == exported
        headrace("backfill", "resume", "r1", data=place.data)
        assert headrace("backfill", "cancel", "r1", "--json", data=place.data).json["state"] == "cancelled"
        again = headrace("backfill", "resume", "r1", data=place.data)
        assert (again.code, "cancelled already" in again.err) == (2, True)
