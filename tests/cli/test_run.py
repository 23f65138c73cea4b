"""``headrace run`` as a process, against a scripted Kinesis: what it sends, what it says, and how it ends."""

from __future__ import annotations

import gzip
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from headrace.testing import Child, Fault, Script, canonical, content, export_id, fold, judge, read_records
from tests.cli.commands import background, headrace
from tests.e2e.updates import PLANS, STREAMS, configuration, updates, write_configuration, write_updates

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
REFUSING = Script(faults=(Fault(kind="throttle", rate=1.0),))


class Road:
    """A folder with a configuration, an input and a data folder, and the Kinesis that it leads to."""

    def __init__(self, folder: Path, kinesis: Child) -> None:
        self.folder, self.kinesis = folder, kinesis
        self.config = write_configuration(folder / "config.json", kinesis.url)
        self.input = folder / "input.jsonl"
        self.data = folder / "data"
        self.recording = folder / "received"
        self.run = ("run", "--config", self.config, "--input", self.input)

    def received(self) -> Counter[object]:
        """Export ids to how often each was received."""
        if not self.recording.exists():
            return Counter()
        return Counter(export_id(record.data) for record in read_records(self.recording))

    def hold(self, lines: list[bytes]) -> None:
        """The stream holds exactly what the updates come to, in order, each message once."""
        folded = fold(lines, PLANS, identify=canonical)
        verdict = judge(
            {STREAMS[flow]: folded.expected(flow) for flow in PLANS}, read_records(self.recording), identify=content,
            joins={STREAMS[flow]: folded.joins[flow] for flow in PLANS},
        )  # fmt: skip
        assert verdict.ok, verdict
        assert verdict.expected == verdict.records, verdict


@pytest.fixture
def road(tmp_path: Path) -> Iterator[Road]:
    """A road whose Kinesis takes everything."""
    with Child(streams=dict.fromkeys(STREAMS.values(), 2), record=tmp_path / "received") as kinesis:
        yield Road(tmp_path, kinesis)


def test_a_finished_run_says_what_it_did_and_again_sends_nothing(road: Road) -> None:
    """Exit 0 and a table with the figures; again sends nothing; lines added later are sent, and no other."""
    lines = write_updates(road.input, 1, 600, 40)
    done = headrace(*road.run, data=road.data)
    assert done.code == 0, done
    assert done.err == ""
    road.hold(lines)
    delivered = Counter(record.stream for record in read_records(road.recording))
    assert [int(n) for n in re.findall(r"(?m)^ *delivered +(\d+)", done.out)] == [
        delivered[s] for s in STREAMS.values()
    ]
    assert re.search(r"(?m)^ *received +600 +600 in this run", done.out)
    assert headrace(*road.run, data=road.data).code == 0
    road.hold(lines)
    more = list(updates(2, 50, 40))
    with road.input.open("ab") as file:
        file.write(b"\n".join(more) + b"\n")
    assert headrace(*road.run, "--quiet", data=road.data) == (0, "", "")
    road.hold(lines + more)


def test_refused_updates_end_it_with_3_once(road: Road) -> None:
    """Malformed lines become dead letters, their neighbours are sent; 3, and 0 when nothing is new."""
    lines = list(updates(1, 60, 5))
    wrong = [b"{", b'["no", "object"]', b'{"person": {}}', b"\xff\xfe", b"[" * 5000]
    road.input.write_bytes(b"\n".join([*lines[:30], *wrong, *lines[30:]]))
    done = headrace(*road.run, data=road.data)
    assert done.code == 3, done
    road.hold(lines)
    listed = headrace("dead-letters", "list", "--json", data=road.data).json
    assert sorted(letter["place"] for letter in listed) == [f"input.jsonl line {n}" for n in range(31, 36)]
    assert headrace(*road.run, data=road.data).code == 0


def test_an_export_that_is_too_large_ends_it_with_3(road: Road) -> None:
    """A message over the stream's limit is dead-lettered alone, with its content; the others are delivered."""
    changed = configuration(road.kinesis.url)
    for target in changed["targetConnections"]:
        target["params"]["maxRecordBytes"] = 1500
    road.config.write_bytes(msgspec.json.encode(changed))
    large = {
        "identityMap": {"Email": [{"id": "large@example.com"}]},
        "person": {"name": {"first": "x" * 2000}},
        "segmentMembership": {
            "ups": {"aud-1": {"status": "realized", "lastQualificationTime": "2026-01-01T00:00:00Z"}}
        },
    }
    lines = list(updates(1, 60, 5))
    road.input.write_bytes(b"\n".join([*lines[:30], msgspec.json.encode(large), *lines[30:]]))
    assert headrace(*road.run, data=road.data).code == 3
    road.hold(lines)
    (letter,) = headrace("dead-letters", "list", "--kind", "export", "--json", data=road.data).json
    assert (letter["reason"], letter["flow"]) == ("record-too-large", "first")
    shown = headrace("dead-letters", "show", letter["id"], data=road.data)
    assert "x" * 2000 in shown.out


@pytest.mark.parametrize("kind", ["gzip", "stdin", "gzip on stdin"])
def test_gzip_and_standard_input(road: Road, kind: str) -> None:
    """A gzip file and standard input are read to their ends; both at once as well."""
    lines = list(updates(3, 300, 20))
    text = b"\n".join(lines)
    if kind == "gzip":
        packed = road.folder / "input.jsonl.gz"
        packed.write_bytes(gzip.compress(text))
        again = ("run", "--config", road.config, "--input", packed)
        done = headrace(*again, data=road.data)
        assert headrace(*again, data=road.data).code == 0
    else:
        stdin = gzip.compress(text) if kind.startswith("gzip") else text
        done = headrace("run", "--config", road.config, "--input", "-", data=road.data, stdin=stdin)
    assert done.code == 0, done
    road.hold(lines)


def test_two_inputs_are_read(road: Road) -> None:
    """Every --input is read to its end."""
    lines = list(updates(4, 200, 20))
    first, second = road.folder / "a.jsonl", road.folder / "b.jsonl"
    first.write_bytes(b"\n".join(lines))
    second.write_bytes(b'{"identityMap":{"Email":[{"id":"somebody@else.example"}]}}')
    done = headrace("run", "--config", road.config, "-i", first, "-i", second, data=road.data)
    assert done.code == 0, done
    assert headrace("status", "--json", data=road.data).json["totals"]["accepted"] == 201
    road.hold(lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_graceful_stop_sends_nothing_twice(road: Road, number: signal.Signals) -> None:
    """Stopped in the middle it ends by itself; run again it goes on, and every message was received once.

    A start in between that failed on its input has sent nothing, and so casts no doubt on what waits.
    """
    lines = write_updates(road.input, 5, 40_000, 2000)
    with background(*road.run, data=road.data) as running:
        running.until(lambda: road.recording.exists() and road.recording.stat().st_size > 100_000)
        running.signal(number)
        stopped = running.ended()
    status = headrace("status", "--json", data=road.data).json["totals"]
    assert status["received"] < len(lines), "it was stopped too late to show anything"
    assert stopped.code == 4, stopped
    assert "stopping" in stopped.err
    assert "run again" in stopped.err
    assert all(count == 1 for count in road.received().values())
    failed = headrace("run", "--config", road.config, "--input", road.input.with_name("nosuch"), data=road.data)
    assert failed.code != 0, failed
    done = headrace(*road.run, data=road.data)
    assert done.code == 0, done
    road.hold(lines)
    flows = headrace("status", "--json", data=road.data).json["totals"]["flows"].values()
    assert [flow["possible_duplicates"] for flow in flows] == [0, 0]


def test_a_second_signal_ends_at_once(road: Road) -> None:
    """While a destination that refuses everything is waited for, the second Ctrl-C ends the process."""
    road.kinesis.follow(REFUSING)
    write_updates(road.input, 5, 200, 20)
    with background(*road.run, data=road.data) as running:
        running.until(lambda: road.kinesis.counts().requests > 0)
        running.signal(signal.SIGINT)
        running.until(lambda: "stopping" in running.said())
        running.signal(signal.SIGINT)
        assert running.ended().code == -signal.SIGINT


def test_follow_waits_for_more_and_ends_with_0_when_stopped(road: Road) -> None:
    """With --follow lines are sent as they are added; a stop after everything was delivered is a good end."""
    lines = list(updates(6, 300, 20))
    road.input.write_bytes(b"\n".join(lines[:100]) + b"\n")
    with background(*road.run, "--follow", data=road.data) as running:
        running.until(lambda: len(road.received()) > 0)
        with road.input.open("ab") as file:
            file.write(b"\n".join(lines[100:]) + b"\n")
        wanted = sum(len(messages) for plan in fold(lines, PLANS).messages.values() for messages in plan.values())
        running.until(lambda: len(road.received()) == wanted)
        running.signal(signal.SIGTERM)
        assert running.ended().code == 0
    road.hold(lines)
    assert headrace(*road.run, data=road.data).code == 0
    road.hold(lines)


def test_a_drain_timeout_leaves_the_rest_for_later(road: Road) -> None:
    """A destination that refuses everything: 4 when the time is up; the next run sends what was kept."""
    lines = write_updates(road.input, 7, 300, 20)
    road.kinesis.follow(REFUSING)
    left = headrace(*road.run, "--drain-timeout", "0.5", data=road.data)
    assert left.code == 4, left
    assert not road.received()
    assert re.search(r"(?m)^ *pending +[1-9]", left.out)
    road.kinesis.follow(Script())
    done = headrace(*road.run, data=road.data)
    assert done.code == 0, done
    road.hold(lines)


def test_a_destination_that_forbids_ends_it_with_4(road: Road) -> None:
    """Without permission a flow halts: 4, with the destination's reason; the other flow is delivered."""
    lines = write_updates(road.input, 8, 300, 20)
    denied = Fault(kind="refuse", code="AccessDeniedException", stream="stream-1", actions=("PutRecords",))
    road.kinesis.follow(Script(faults=(denied,)))
    halted = headrace(*road.run, data=road.data)
    assert halted.code == 4, halted
    assert "AccessDeniedException" in halted.out + halted.err
    assert {record.stream for record in read_records(road.recording)} == {"stream-2"}
    road.kinesis.follow(Script())
    assert headrace(*road.run, data=road.data).code == 0
    road.hold(lines)


def test_a_paused_flow_ends_it_with_4_and_keeps_its_exports(road: Road) -> None:
    """Disabled by the configuration, a flow keeps its exports; enabled again it sends them, none twice."""
    lines = write_updates(road.input, 9, 300, 20)
    paused = configuration(road.kinesis.url)
    paused["flows"][0]["state"] = "disabled"
    road.config.write_bytes(msgspec.json.encode(paused))
    done = headrace(*road.run, data=road.data)
    assert done.code == 4, done
    assert {record.stream for record in read_records(road.recording)} == {"stream-2"}
    write_configuration(road.config, road.kinesis.url)
    assert headrace(*road.run, data=road.data).code == 0
    road.hold(lines)


def test_a_changed_file_is_refused_with_the_choices(road: Road) -> None:
    """What was read has changed: 2 with the choices; --from-end skips, --from-start reads it as a new file."""
    lines = write_updates(road.input, 10, 200, 20)
    assert headrace(*road.run, data=road.data).code == 0
    road.hold(lines)
    other = write_updates(road.input, 11, 200, 20)
    refused = headrace(*road.run, data=road.data)
    assert refused.code == 2
    assert "--from-start" in refused.err
    assert "--from-end" in refused.err
    road.hold(lines)
    assert headrace(*road.run, "--from-end", data=road.data).code == 0
    assert headrace(*road.run, data=road.data).code == 0
    road.hold(lines)
    assert headrace(*road.run, "--from-start", data=road.data).code == 0
    road.hold(lines + other)


def test_from_the_end_keeps_its_place_though_nothing_follows(road: Road) -> None:
    """--from-end skips what is there; what is added before the next run is read by it."""
    write_updates(road.input, 12, 100, 10)
    assert headrace(*road.run, "--from", "end", data=road.data).code == 0
    assert not road.received()
    more = list(updates(13, 100, 10))
    with road.input.open("ab") as file:
        file.write(b"\n".join(more) + b"\n")
    assert headrace(*road.run, data=road.data).code == 0
    road.hold(more)


def test_a_held_folder_is_reported_with_what_to_do(road: Road) -> None:
    """A second process on the same data folder is refused with 2, the first one's pid, and the way out."""
    road.input.write_bytes(b"")
    with background(*road.run, "--follow", data=road.data) as running:
        running.until(lambda: (road.data / "headrace.sock").exists())
        refused = headrace(*road.run, data=road.data)
        assert refused.code == 2
        assert f"process {running.pid}" in refused.err
        assert "--data-dir" in refused.err
        assert headrace("status", "--json", data=road.data).json["totals"]["received"] == 0
        running.signal(signal.SIGTERM)
        assert running.ended().code == 0
    assert not (road.data / "headrace.sock").exists()


def test_standard_input_stops_too(road: Road) -> None:
    """Waiting for standard input, a signal ends it, and what was read is delivered."""
    lines = list(updates(14, 50, 5))
    with background("run", "--config", road.config, "--input", "-", data=road.data, piped=True) as running:
        assert running.stdin is not None
        running.stdin.write(b"\n".join(lines) + b"\n")
        running.stdin.flush()
        running.until(lambda: len(road.received()) > 0)
        running.signal(signal.SIGTERM)
        assert running.ended().code in (0, 4)
    road.hold(lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--input", "no-such-file.jsonl"], "no-such-file.jsonl"),
        (["--input", "."], "directory"),
        (["--input", "input.jsonl", "--from", "middle"], "middle"),
        (["--input", "input.jsonl", "--drain-timeout", "-1"], "drain-timeout"),
        (["--input", "input.jsonl", "--colour"], "colour"),
        (["--input", "input.jsonl", "--from-start", "--from-end"], "--from-end"),
        (["--input", "input.jsonl", "--input", "./input.jsonl"], "twice"),
        ([], "--input"),
    ],
)
def test_a_wrong_call_is_one_clear_message(
    road: Road, arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """Each ends with 2 and says what is wrong; nothing is sent."""
    monkeypatch.chdir(road.folder)
    write_updates(road.input, 1, 10, 5)
    refused = headrace("run", "--config", road.config, *arguments, data=road.data)
    assert refused.code == 2, refused
    assert words in refused.err
    assert not road.received()


def test_wrong_settings_and_a_missing_configuration_are_clear(road: Road, tmp_path: Path) -> None:
    """All wrong settings at once with what is allowed; a missing or broken configuration file by its name."""
    write_updates(road.input, 1, 10, 5)
    wrong = {"HEADRACE_MEMORY_BYTES": "much", "HEADRACE_LINGER_MS": "-1", "HEADRACE_INSTALLATION_KEY": "x"}
    refused = headrace(*road.run, data=road.data, env=wrong)
    assert refused.code == 2
    assert "HEADRACE_MEMORY_BYTES" in refused.err
    assert "HEADRACE_LINGER_MS" in refused.err
    assert "allowed" in refused.err
    missing = headrace("run", "--config", "no-such.yaml", "--input", road.input, data=road.data)
    assert missing.code == 2
    assert "no-such.yaml" in missing.err
    road.config.write_text("flows: [\n")
    broken = headrace(*road.run, data=road.data)
    assert broken.code == 2
    assert "config.json" in broken.err
    file = tmp_path / "file"
    file.touch()
    write_configuration(road.config, road.kinesis.url)
    no_folder = headrace(*road.run, data=file)
    assert no_folder.code == 2
    assert str(file) in no_folder.err


def test_a_damaged_folder_is_named(road: Road) -> None:
    """A folder of a newer format, and one whose key is cut, are refused with what to do."""
    write_updates(road.input, 1, 10, 5)
    assert headrace(*road.run, data=road.data).code == 0
    key = road.data / "installation.key"
    whole = key.read_bytes()
    key.write_bytes(whole[:7])
    damaged = headrace(*road.run, data=road.data)
    assert damaged.code == 2
    assert "installation.key" in damaged.err
    key.write_bytes(whole)
    (road.data / "FORMAT").write_bytes(b'{"format":99,"product":"headrace"}')
    newer = headrace(*road.run, data=road.data)
    assert newer.code == 2
    assert "99" in newer.err
