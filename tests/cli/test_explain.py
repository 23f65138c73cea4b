"""``headrace ledger`` and ``headrace explain`` as processes, on a folder that nobody holds and beside ``serve``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from pyarrow import parquet

from headrace.testing import Child, read_records
from headrace.testing.recording import Written
from tests.cli.commands import background, headrace
from tests.e2e.updates import STREAMS, write_configuration, write_updates

pytestmark = [pytest.mark.slow]


class Done(NamedTuple):
    """A finished run: its folder, and what the streams received."""

    folder: Path
    records: list[Written]

    @property
    def data(self) -> Path:
        return self.folder / "data"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    """400 updates, exported."""
    folder = tmp_path_factory.mktemp("ran")
    with Child(streams=dict.fromkeys(STREAMS.values(), 2), record=folder / "received") as kinesis:
        write_updates(folder / "input.jsonl", 1, 400, 30)
        config = write_configuration(folder / "config.json", kinesis.url)
        ran = headrace("run", "-c", config, "-i", folder / "input.jsonl", "-q", data=folder / "data")
        assert ran.code == 0, ran
        yield Done(folder, list(read_records(folder / "received")))


def asked(done: Done) -> None:
    """Every question about one record leads to the same export."""
    record = done.records[len(done.records) // 2]
    message = msgspec.json.decode(record.data)
    export_id = message["_headrace"]["exportId"]
    place = ("--shard", record.shard, "--sequence", record.sequence)
    ordinals = set()
    for question in (("--export", export_id), place):
        found = headrace("explain", *question, "--json", data=done.data).json
        assert found["unknown"] == []
        assert [f["export_id"] for f in found["flows"]] == [export_id]
        assert found["flows"][0]["message"].encode() == record.data
        assert (found["flows"][0]["shard"], found["flows"][0]["sequence"]) == (record.shard, record.sequence)
        page = headrace("explain", *question, data=done.data)
        assert page.code == 0
        assert re.search(rf"(?m)^  sequence number {record.sequence}$", page.out)
        assert re.search(rf"^Input {found['input']['ordinal']}: update of ", page.out)
        ordinals.add(found["input"]["ordinal"])
    rows = headrace("ledger", "find", *place, "--json", data=done.data).json
    assert [row["export_id"] for row in rows] == [export_id]
    assert {rows[0]["ordinal"]} == ordinals
    assert export_id in headrace("ledger", "find", "--export", export_id, data=done.data).out
    namespace, entries = next(iter(message["identityMap"].items()))
    person = headrace("explain", "--identity", f"{namespace}:{entries[0]['id']}", "--json", data=done.data).json
    assert len(person["flows"]) == 2
    assert person["input"]["ordinal"] >= max(ordinals)


def test_a_folder_that_nobody_holds(done: Done) -> None:
    """The commands open it themselves."""
    asked(done)


def test_a_folder_that_serve_holds(done: Done) -> None:
    """The process that holds it answers the same, and goes on."""
    config = write_configuration(done.folder / "serving.json", "http://127.0.0.1:9")
    with background("serve", "-c", config, "--port", "0", data=done.data) as serving:
        serving.until(lambda: "ready" in serving.said())
        asked(done)
        assert headrace("explain", "--export", "0" * 32, data=done.data).code == 2
        serving.signal(15)
        assert serving.ended().code == 0


def test_the_whole_ledger_is_exported(done: Done, tmp_path: Path) -> None:
    """JSON Lines to a file and to standard output, and Parquet: an entry for each record that was received."""
    expected = {(r.shard, r.sequence) for r in done.records}
    lines = tmp_path / "ledger.jsonl"
    said = headrace("ledger", "export", "--out", lines, data=done.data)
    assert (said.code, said.out) == (0, f"{len(expected)} exports are in {lines}\n")
    rows = [msgspec.json.decode(line) for line in lines.read_bytes().splitlines()]
    assert {(row["shard"], row["sequence"]) for row in rows} == expected
    assert [row["row"] for row in rows] == list(range(1, len(expected) + 1))
    assert headrace("ledger", "export", data=done.data).out == lines.read_text()
    one = headrace("ledger", "export", "--flow", "second", data=done.data).out
    assert {msgspec.json.decode(line)["flow"] for line in one.splitlines()} == {"second"}
    again = headrace("ledger", "export", "--out", lines, data=done.data)
    assert (again.code, "exists; choose another file" in again.err) == (2, True)


def test_parquet_holds_what_the_lines_hold(done: Done, tmp_path: Path) -> None:
    """Same rows, times as timestamps."""
    path = tmp_path / "ledger.parquet"
    assert headrace("ledger", "export", "--format", "parquet", "--out", path, data=done.data).code == 0
    table = parquet.read_table(path)
    lines = [msgspec.json.decode(x) for x in headrace("ledger", "export", data=done.data).out.splitlines()]
    assert table.column("made")[0].as_py().isoformat(timespec="milliseconds") == lines[0]["made"].replace(
        "Z", "+00:00"
    )
    kept = [name for name in table.column_names if name not in ("made", "settled")]
    assert [{name: row[name] for name in kept} for row in lines] == table.select(kept).to_pylist()
    assert set(lines[0]) == set(table.column_names)


def test_each_option_finds_what_it_says(done: Done, tmp_path: Path) -> None:
    """Profile, shard, flow and times, alone and together, against a plain filter of all rows; in Parquet too."""
    rows = [msgspec.json.decode(line) for line in headrace("ledger", "export", data=done.data).out.splitlines()]
    middle = rows[len(rows) // 2]
    options = {
        "--profile": ("profile_id", middle["profile_id"]),
        "--shard": ("shard", middle["shard"]),
        "--flow": ("flow", middle["flow"]),
    }
    since, until = middle["settled"], rows[-1]["settled"]
    for chosen in (["--profile"], ["--shard"], ["--flow"], ["--shard", "--flow"], list(options)):
        wanted = [row for row in rows if all(row[options[o][0]] == options[o][1] for o in chosen)]
        timed = [row for row in wanted if since <= row["settled"] < until]
        call = [word for option in chosen for word in (option, options[option][1])]
        said = headrace("ledger", "export", *call, data=done.data)
        assert [msgspec.json.decode(line) for line in said.out.splitlines()] == wanted
        found = headrace("ledger", "find", *call, "--limit", "10000", "--json", data=done.data).json
        assert found == wanted[::-1]
        times = ("--since", since, "--until", until)
        path = tmp_path / f"{len(call)}-{chosen[0]}.parquet"
        assert headrace(
            "ledger", "export", *call, *times, "--format", "parquet", "-o", path, data=done.data
        ).code == 0  # fmt: skip
        assert parquet.read_table(path).column("row").to_pylist() == [row["row"] for row in timed]
    assert len(headrace("ledger", "find", "--limit", "3", "--json", data=done.data).json) == 3


def test_parquet_without_pyarrow_says_what_to_install(done: Done, tmp_path: Path) -> None:
    """A clear error, and no file."""
    (tmp_path / "pyarrow.py").write_text("raise ImportError")
    path = tmp_path / "ledger.parquet"
    said = headrace(
        "ledger", "export", "--format", "parquet", "--out", path, data=done.data, env={"PYTHONPATH": str(tmp_path)}
    )
    assert said.code == 2
    assert "pip install 'headrace[parquet]'" in said.err
    assert not path.exists()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (("explain",), "name one of"),
        (("explain", "--shard", "s"), "name one of"),
        (("explain", "--export", "x", "--input", "1"), "name one of"),
        (("explain", "--input", "1", "--at", "2026-01-01T00:00:00Z"), "name one of"),
        (("explain", "--identity", "a:b", "--at", "noon"), "--at noon is not an RFC 3339 date-time"),
        (("explain", "--identity", "a:b"), "no profile has the identity a:b"),
        (("explain", "--sequence", "1"), "sequence number 1 is not in the ledger"),
        (("ledger", "find", "--since", "x"), "--since x is not an RFC 3339"),
        (("ledger", "export", "--format", "parquet"), "name a file with --out"),
    ],
)
def test_a_wrong_call_is_one_message(done: Done, call: tuple[str, ...], words: str) -> None:
    """Exit 2, and what to do."""
    said = headrace(*call, data=done.data)
    assert said.code == 2
    assert words in said.err.replace("\n", " ")
    assert said.out == ""
