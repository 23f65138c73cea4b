"""``make bench NAME=latency``: an update posted to its message on the stream; a row in bench/results/latency.md.

Three processes on one machine: the load, ``headrace serve`` as anyone starts it (durable, one flow, metadata on,
journal and ledger on), and a scripted Kinesis that decodes and records every record with the time it arrived.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from bench.latency.load import AUDIENCE, Load
from bench.machine import machine
from headrace.testing import Child, Written, read_records

RESULTS = Path(__file__).parent.parent / "results" / "latency.md"
HEADRACE = str(Path(sys.executable).with_name("headrace"))
START_BOUND_S, TAIL_BOUND_S = 30.0, 15.0
PATHS = ("web.n", "person.name.firstName", "person.name.lastName", "personalEmail.address", "loyalty.points")
HEAD = """# Latency: update posted to message on the stream

`make bench NAME=latency`: updates of about 550 bytes posted at a steady rate to `headrace serve` (synced before it
answers; one flow, metadata on, all settings at their defaults, so a linger of 20 ms), which exports each to a server
that records it. "sent": from the moment the load hands the request to its socket, the first at which the server could
have it; "acknowledged": from the moment the load has the answer. Both to the end of the millisecond in which the
record arrived, before it is answered. Load, engine and stream are three processes on the one machine; the load is
open-loop, and "late" is by how much its 99.9th percentile missed its own schedule.
The aim is a median under 40 ms and a 99th percentile under 150 ms, from "sent".
"""


def configuration(url: str) -> dict[str, Any]:
    spec = {"id": "86043421-563b-46ec-8e6c-e23184711bf6", "version": "1.0"}
    params = {"accessKeyId": "AK", "secretKey": "SK", "region": "eu-west-1", "endpointUrl": url}
    mapped = [{"type": "JSON_PATH", "value": {"path": path}} for path in PATHS]
    transformation = {
        "segmentSelectors": {"selectors": [{"type": "PLATFORM_SEGMENT", "value": {"id": AUDIENCE}}]},
        "profileSelectors": {"selectors": mapped},
        "headrace": {"metadata": True},
    }
    return {
        "connections": [
            {
                "id": "c",
                "name": "c",
                "connectionSpec": spec,
                "auth": {"specName": "Aws Kinesis authentication credentials", "params": params},
            }
        ],
        "targetConnections": [
            {"id": "t", "name": "t", "baseConnectionId": "c", "connectionSpec": spec, "params": {"stream": "s"}}
        ],
        "flows": [
            {
                "id": "f",
                "name": "f",
                "flowSpec": {"id": "71471eba-b620-49e4-90fd-23f1fa0174d8", "version": "1.0"},
                "targetConnectionIds": ["t"],
                "transformations": [{"name": "GeneralTransform", "params": transformation}],
            }
        ],
    }


@contextmanager
def serving(folder: Path, url: str) -> Iterator[tuple[int, int]]:
    """Run ``headrace serve``; its process id and port."""
    config = folder / "config.json"
    config.write_bytes(msgspec.json.encode(configuration(url)))
    command = [
        HEADRACE,
        "serve",
        "--config",
        str(config),
        "--data-dir",
        str(folder / "data"),
        "--port",
        "0",
        "--no-api",
    ]
    words = folder / "words"
    with words.open("wb") as out:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, "HEADRACE_LOG_FORMAT": "json"},
        )
    try:
        yield child.pid, _port(child, words)
        if child.poll() is not None:
            raise SystemExit(f"headrace serve ended: {words.read_text()}")
    finally:
        child.terminate()
        try:
            child.wait(60)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _port(child: subprocess.Popen[bytes], words: Path) -> int:
    """Where it listens, by its own words, once it is ready."""
    end = time.monotonic() + START_BOUND_S
    while time.monotonic() < end and child.poll() is None:
        for line in words.read_text().splitlines():
            if line.startswith("{") and '"collection"' in line:
                port = int(msgspec.json.decode(line)["collection"].split(":")[2].partition("/")[0])
                if _ready(port):
                    return port
        time.sleep(0.05)
    raise SystemExit(f"headrace serve did not start: {words.read_text()}")


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return int(answer.status) == 200
    except urllib.error.URLError:
        return False


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Report(msgspec.Struct):
    updates: int
    sent_ms: list[float]
    acknowledged_ms: list[float]
    answer_ms: list[float]
    late_ms: list[float]
    connections: int
    cpu_s: float
    wall_s: float
    records: int


def measure(options: argparse.Namespace) -> Report:
    with tempfile.TemporaryDirectory() as parent:
        folder, recording = Path(parent), Path(parent) / "records"
        with (
            Child(streams={"s": options.shards}, record=recording, keep=False) as kinesis,
            serving(folder, kinesis.url) as (pid, port),
        ):
            before, begun = cpu_s(pid), time.perf_counter()
            command = [sys.executable, "-W", "ignore", "-m", "bench.latency.load", str(port), str(folder / "load")]
            for name in ("rate", "batch", "people", "connections"):
                command += [f"--{name}", str(getattr(options, name))]
            command += ["--seconds", str(options.seconds + options.warm_up)]
            subprocess.run(command, check=True, timeout=options.seconds + options.warm_up + 60)
            load = msgspec.msgpack.decode((folder / "load").read_bytes(), type=Load)
            used, wall = cpu_s(pid) - before, time.perf_counter() - begun
            if load.wrong:
                raise SystemExit(f"{load.wrong} requests were not accepted")
            return _report(load, _arrivals(recording, sum(p.count for p in load.posts)), options, used, wall)


def _arrivals(recording: Path, expected: int) -> dict[int, int]:
    """Number of each update to when its message arrived, epoch milliseconds; waits for the last ones."""
    end = time.monotonic() + TAIL_BOUND_S
    arrived: dict[int, int] = {}
    while len(arrived) < expected and time.monotonic() < end:
        time.sleep(0.3)
        for record in read_records(recording):
            arrived.setdefault(_number(record), record.at_ms)
    if len(arrived) < expected:
        raise SystemExit(f"{expected - len(arrived)} of {expected} messages did not arrive in {TAIL_BOUND_S:.0f} s")
    return arrived


class _Web(msgspec.Struct):
    n: int


class _Message(msgspec.Struct):
    web: _Web


_decode = msgspec.json.Decoder(_Message).decode


def _number(record: Written) -> int:
    return _decode(record.data).web.n


def _report(load: Load, arrived: dict[int, int], options: argparse.Namespace, used: float, wall: float) -> Report:
    sent, acknowledged, answers, late = [], [], [], []
    start = load.posts[0].due + options.warm_up
    for post in load.posts:
        if post.due < start:
            continue
        late.append((post.sent - post.due) * 1000)
        answers.append((post.answered - post.sent) * 1000)
        for number in range(post.first, post.first + post.count):
            at = arrived[number] + 1
            sent.append(at - post.sent * 1000)
            acknowledged.append(at - post.answered * 1000)
    return Report(
        len(sent), sorted(sent), sorted(acknowledged), sorted(answers), sorted(late), load.connections, used, wall,
        len(arrived),
    )  # fmt: skip


def at(values: list[float], share: float) -> float:
    """The value that this share of all is not above."""
    return values[min(len(values) - 1, int(share * len(values)))]


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench NAME=latency")
    parser.add_argument("--rate", type=float, default=1000.0, help="updates a second")
    parser.add_argument("--batch", type=int, action="append", help="updates a request (default: 1, then 10)")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--warm-up", type=float, default=3.0, help="seconds before that are not counted")
    parser.add_argument("--people", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=16, help="open at the start")
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--dry", action="store_true", help="print only, write no row")
    options = parser.parse_args()
    begun = os.getloadavg()[0]
    lines = []
    for batch in options.batch or [1, 10]:
        options.batch = batch
        lines.append(line(batch, measure(options)))
        print(lines[-1])
    write(lines, options, begun)


def line(batch: int, report: Report) -> str:
    def three(values: list[float]) -> str:
        return " / ".join(f"{at(values, share):.0f}" for share in (0.5, 0.99, 0.999))

    return (
        f"| {batch} | {report.updates:,} | **{three(report.sent_ms)}** | {three(report.acknowledged_ms)} "
        f"| {three(report.answer_ms)} | {report.sent_ms[-1]:.0f} | {at(report.late_ms, 0.999):.1f} "
        f"| {report.connections} | {report.cpu_s / report.wall_s:.0%} |"
    )


def write(lines: list[str], options: argparse.Namespace, load: float) -> None:
    arguments = [f"ARGS={' '.join(sys.argv[1:])}"] if sys.argv[1:] else []
    command = shlex.join(["make", "bench", "NAME=latency", *arguments])
    # On a machine that others load, in a session of its own: setsid bash -c 'echo -15 > /proc/self/autogroup; nice -n
    # -15 make bench ...'. Without the first, Linux weighs whole sessions against each other, whatever their priority.
    priority = f", the three processes at priority {os.nice(0)} against the load" if os.nice(0) else ""
    text = (
        f"\n## {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {options.rate:,.0f} updates/s\n\n"
        f"`{command}`, {machine()}, load {load:.2f} at the start, {os.getloadavg()[0]:.2f} at the end, "
        f"{options.seconds:.0f} s after {options.warm_up:.0f} s of warm-up, {options.people:,} people, "
        f"{options.shards} shards{priority}\n\n"
        "| updates a request | updates | sent to record, p50 / p99 / p99.9 ms | acknowledged to record "
        "| sent to acknowledged | longest, sent to record | late | connections | engine's share of a core |\n"
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n" + "\n".join(lines) + "\n"
    )
    print(text)
    if not options.dry:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text((RESULTS.read_text() if RESULTS.exists() else HEAD) + text)


if __name__ == "__main__":
    main()
