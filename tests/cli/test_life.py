"""``headrace flows``, ``dead-letters replay`` and ``profiles`` as processes, on a served folder and without one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from headrace.testing import Child, read_records
from tests.cli.commands import background, headrace
from tests.e2e.updates import STREAMS, updates, write_configuration

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


class Place:
    """A folder with a configuration, and updates that were read."""

    def __init__(self, folder: Path, kinesis: Child) -> None:
        self.folder, self.data, self.config = folder, folder / "data", folder / "config.json"
        write_configuration(self.config, kinesis.url)
        self.input = folder / "updates.jsonl"
        self.input.write_bytes(b"\n".join(updates(1, 401, 40)) + b"\n")

    def run(self, code: int = 0) -> None:
        done = headrace("run", "-c", self.config, "-i", self.input, "-q", data=self.data)
        assert done.code == code, done.err

    def received(self, flow: str) -> int:
        return sum(record.stream == STREAMS[flow] for record in read_records(self.folder / "received"))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Child(streams=dict.fromkeys(STREAMS.values(), 2), record=tmp_path / "received") as kinesis:
        yield Place(tmp_path, kinesis)


def test_a_flow_is_paused_and_resumed(place: Place) -> None:
    """Between two runs without a process, then on a served folder; the run of a paused flow ends with 4."""
    place.run()
    before = place.received("first")
    paused = headrace("flows", "pause", "first", data=place.data)
    assert (paused.code, "paused (keep, operator)" in paused.out) == (0, True)
    with place.input.open("ab") as file:
        file.write(b"\n".join(updates(2, 200, 40)) + b"\n")
    place.run(code=4)
    assert place.received("first") == before
    with background("serve", "--config", place.config, "--port", "0", data=place.data) as serving:
        serving.until(lambda: '"ready"' in serving.said())
        assert headrace("flows", "resume", "first", "--json", data=place.data).json["pause"] is None
        serving.until(lambda: headrace("flows", "list", "--json", data=place.data).json[0]["pending"] == 0)
        assert place.received("first") > before
        wrong = headrace("flows", "pause", "third", data=place.data)
        assert (wrong.code, "allowed: first, second" in wrong.err) == (2, True)
        assert "running" in headrace("flows", "list", data=place.data).out


AGAIN = "2 updates decided again: 0 applied, 2 refused again (they stay dead letters)"


def test_dead_letters_are_counted_exported_and_replayed(tmp_path: Path) -> None:
    """Two updates that are none: a dry run, a file, and then the replay, which says that it refuses them again."""
    with Child(streams=dict.fromkeys(STREAMS.values(), 2), record=tmp_path / "received") as kinesis:
        place = Place(tmp_path, kinesis)
        with place.input.open("ab") as file:
            file.write(b'no json\n{"identityMap":{}}\n')
        place.run(code=3)
        dry = headrace("dead-letters", "replay", "--all", "--dry-run", "-c", place.config, "--json", data=place.data)
        assert dry.json == {"updates": 2, "exports": 0, "left": {}, "dry_run": True}
        kept = headrace("dead-letters", "export", "-o", tmp_path / "letters.jsonl", data=place.data)
        assert kept.code == 0, kept.err
        lines = [msgspec.json.decode(line) for line in (tmp_path / "letters.jsonl").read_bytes().splitlines()]
        assert [line["content"] for line in lines] == ['{"identityMap":{}}\n', "no json\n"]
        nothing = headrace("dead-letters", "replay", data=place.data)
        assert (nothing.code, "--all" in nothing.err) == (2, True)
        done = headrace("dead-letters", "replay", "--kind", "update", "-c", place.config, data=place.data)
        assert (done.code, done.out.strip()) == (0, AGAIN)
        with background("serve", "--config", place.config, "--port", "0", "--no-api", data=place.data) as serving:
            serving.until(lambda: '"ready"' in serving.said())
            done = headrace("dead-letters", "replay", "--kind", "update", data=place.data)
            assert (done.code, done.out.strip()) == (0, AGAIN)
        assert len(headrace("dead-letters", "list", "--json", data=place.data).json) == 2


def test_a_person_is_shown_exported_and_deleted(place: Place, tmp_path: Path) -> None:
    """Without a process and with one; asked before, unless --yes."""
    place.run()
    who = "email:7@example.com"
    shown = headrace("profiles", "show", who, data=place.data)
    assert {"namespace": "email", "id": "7@example.com"} in shown.json["identities"]
    kept = headrace("profiles", "export", who, "-o", tmp_path / "person.json", data=place.data)
    assert kept.code == 0, kept.err
    assert msgspec.json.decode((tmp_path / "person.json").read_bytes())["inputs"]
    assert headrace("profiles", "delete", who, "-c", place.config, stdin=b"n\n", data=place.data).code == 2
    report = headrace("profiles", "delete", who, "-y", "-c", place.config, "--json", data=place.data)
    assert (report.code, report.json["state"]) == (0, "done"), report.err
    alone = headrace("profiles", "deletions", "--json", data=place.data)
    assert [(each["run"], each["state"]) for each in alone.json] == [(report.json["run"], "done")], alone.err
    gone = headrace("profiles", "show", who, data=place.data)
    assert (gone.code, "no profile" in gone.err) == (2, True)
    with background("serve", "--config", place.config, "--port", "0", data=place.data) as serving:
        serving.until(lambda: '"ready"' in serving.said())
        other = headrace("profiles", "delete", "email:8@example.com", "-y", "--wait", "--json", data=place.data)
        assert (other.code, other.json["state"]) == (0, "done"), other.err
        asked = headrace("profiles", "delete", "email:9@example.com", "-y", data=place.data)
        assert "headrace profiles deletions d3" in asked.out or "deletion d3 is done" in asked.out, asked.out
        third = headrace("profiles", "deletions", "d3", data=place.data)
        assert (third.code, "d3" in third.out, "d1" in third.out) == (0, True, False)
        assert headrace("profiles", "deletions", "d4", data=place.data).code == 2
