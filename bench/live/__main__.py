"""``make bench NAME=live``: what one open live view costs the engine while updates pour in.

One ``headrace serve`` of two processes under one steady load. Short stretches follow each other: in each pair one has
a browser's stream on ``/ui/live/stream`` open and one has not, and which comes first takes turns, so that a drift of
the machine falls on both. Counted is the CPU of the engine's process, all threads. The control process, which masks
and renders, is another one; it takes nothing from the engine but a core, and is told beside it.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec

from bench.latency.__main__ import configuration
from bench.latency.load import Load as Report
from bench.machine import machine
from headrace.testing import Child

RESULTS = Path(__file__).parent.parent / "results" / "live.md"
START_BOUND_S = 60.0
GOAL = 0.05
TO_CLOSE_S = 1.3
"""A view is closed with the next line that comes, at the beginning of a second at the latest."""
HEAD = f"""# What an open live view costs the engine

`make bench NAME=live`: pairs of short stretches under one steady load on one `headrace serve`, one with a live view
open on all flows, one without; CPU time of the engine's process, all threads. The view shows at most 20 messages a
second and counts the rest. The control process, which masks and renders what is shown, is told beside it. The aim is
under {GOAL:.0%} of the engine's.
"""


class Serving:
    """A running ``headrace serve`` with its console.

    Args:
        folder: For the configuration, the data folder and the words.
        configured: The configuration file's content.
        again: It was started before, and shows no credentials now.
    """

    def __init__(self, folder: Path, configured: dict[str, Any], *, again: bool = False) -> None:
        config, self._words, self._again = folder / "config.json", folder / "words", again
        config.write_bytes(msgspec.json.encode(configured))
        command = [
            *(sys.executable, "-W", "ignore", "-m", "headrace"),
            *("serve", "--config", str(config), "--data-dir", str(folder / "data"), "--port", "0"),
        ]
        self._out = self._words.open("wb")
        self.child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._out,
            env={**os.environ, "HEADRACE_LOG_FORMAT": "json", "HEADRACE_API_PORT": "0"},
        )  # fmt: skip
        said, ready = self._ready()
        told = msgspec.json.decode(ready)
        self.port = int(told["collection"].split(":")[2].partition("/")[0])
        self.console = told["api"]
        self.login, self.password = self._word(said, "login"), self._word(said, "password")

    def _ready(self) -> tuple[str, str]:
        """Its words once it is ready, and the line that says so."""
        end = time.monotonic() + START_BOUND_S
        while time.monotonic() < end and self.child.poll() is None:
            said = self._words.read_text()
            ready = next((each for each in said.splitlines() if '"event": "ready"' in each), "")
            if ready and (self._again or "Lost ones" in said):
                return said, ready
            time.sleep(0.05)
        raise SystemExit(f"headrace serve did not start: {self._words.read_text()}")

    def _word(self, said: str, name: str) -> str:
        found = re.search(rf"^  {name} +(\S+)$", said, re.MULTILINE)
        return found[1] if found else ""

    def close(self) -> None:
        self.child.terminate()
        try:
            self.child.wait(60)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self._out.close()

    def signed_in(self) -> httpx.Client:
        client = httpx.Client(base_url=self.console, timeout=30)
        page = client.get("/ui/sign-in").text
        token = re.search(r'name="csrf" value="(\w+)"', page)
        assert token is not None
        answer = client.post("/ui/sign-in", data={"csrf": token[1], "login": self.login, "password": self.password})
        assert answer.status_code == 303, answer.text
        return client


class View:
    """A browser's stream of the live view, read as it comes."""

    def __init__(self, client: httpx.Client) -> None:
        self.shown = self.missed = 0
        self._ended = threading.Event()
        self._following = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(client,))
        self._thread.start()
        if not self._following.wait(30):
            raise SystemExit("the live view did not begin")

    def _read(self, client: httpx.Client) -> None:
        name = ""
        with client.stream("GET", "/ui/live/stream", timeout=httpx.Timeout(30, read=60)) as answer:
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                    self._following.set()
                elif line.startswith("data: ") and name == "export":
                    self.shown += 1
                elif line.startswith("data: ") and name == "missed":
                    self.missed += msgspec.json.decode(line.removeprefix("data: "))["count"]
                if self._ended.is_set():
                    return

    def close(self) -> None:
        self._ended.set()
        self._thread.join(60)


def cpu_s(pid: int) -> float:
    """CPU-seconds of a process since it began, all threads, as the scheduler counts them: to the nanosecond."""
    return time.clock_gettime(~pid << 3 | 2)


def control_pid(engine_pid: int) -> int:
    """The engine's child that serves the console."""
    children = Path(f"/proc/{engine_pid}/task").glob("*/children")
    (pid,) = {int(each) for file in children for each in file.read_text().split()}
    return pid


class Used(msgspec.Struct):
    """CPU-seconds for one second of load."""

    engine: float
    control: float


def stretch(engine_pid: int, control: int, options: argparse.Namespace) -> Used:
    """What the processes use while the load goes on, after a moment in which they turn to it."""
    time.sleep(options.turn)
    begun, before = time.perf_counter(), (cpu_s(engine_pid), cpu_s(control))
    time.sleep(options.seconds)
    after, took = (cpu_s(engine_pid), cpu_s(control)), time.perf_counter() - begun
    return Used((after[0] - before[0]) / took, (after[1] - before[1]) / took)


class Load:
    """Updates at a steady rate, from a process of its own, for as long as the stretches last.

    Args:
        port: Of the collection.
        file: For its report.
        options: Of the command.
        seconds: How long.
    """

    def __init__(self, port: int, file: Path, options: argparse.Namespace, seconds: float) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "bench.latency.load", str(port), str(file)]
        for name in ("rate", "batch", "people", "connections"):
            command += [f"--{name}", str(getattr(options, name))]
        self._file, self._seconds = file, seconds
        self._child = subprocess.Popen([*command, "--seconds", str(seconds)])

    @property
    def over(self) -> bool:
        """True once it has ended."""
        return self._child.poll() is not None

    def ended(self) -> None:
        """Wait for its end.

        Raises:
            SystemExit: Not every update was accepted, or the load itself was late.
        """
        if self._child.wait(self._seconds + 60):
            raise SystemExit("the load failed")
        told = msgspec.msgpack.decode(self._file.read_bytes(), type=Report)
        if told.wrong:
            raise SystemExit("requests were not accepted")

    def close(self) -> None:
        if self._child.poll() is None:
            self._child.terminate()
            self._child.wait()


def measured(serving: Serving, folder: Path, options: argparse.Namespace) -> Found:
    """Stretches with a view and without, in turn, under one load."""
    client, engine = serving.signed_in(), serving.child.pid
    control = control_pid(engine)
    found = Found([], [], 0, 0)
    lasts = options.warm + options.pairs * (2 * (options.turn + options.seconds) + TO_CLOSE_S)
    load = Load(serving.port, folder / "load", options, lasts)
    try:
        time.sleep(options.warm)  # profiles are made, code is warm
        for pair in range(options.pairs):
            # Without, with, with, without: a drift of the machine falls on both.
            for follows in ((False, True), (True, False))[pair % 2]:
                view = View(client) if follows else None
                (found.watched if follows else found.without).append(stretch(engine, control, options))
                if view is not None:
                    view.close()
                    found.shown, found.missed = found.shown + view.shown, found.missed + view.missed
            if pair % 10 == 9:
                print(f"{pair + 1} pairs: {statistics.median(found.ratios):+.1%}", flush=True)
        if load.over:
            raise SystemExit("the load ended before the last stretch")
        load.ended()
    finally:
        load.close()
    return found


class Found(msgspec.Struct):
    """What the stretches used, pair by pair, and what the views were sent."""

    without: list[Used]
    watched: list[Used]
    shown: int
    missed: int

    @property
    def ratios(self) -> list[float]:
        """By how much a stretch with a view is dearer than its neighbour."""
        return [w.engine / n.engine - 1 for n, w in zip(self.without, self.watched, strict=True)]

    def bounds(self) -> tuple[float, float]:
        """Where the true median lies with 95 % certainty, by the order of the pairs alone (the sign test)."""
        ordered, count = sorted(self.ratios), len(self.without)
        away = int(0.98 * count**0.5) + 1
        return ordered[max(0, count // 2 - away)], ordered[min(count - 1, (count - 1) // 2 + away)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench NAME=live")
    parser.add_argument("--rate", type=float, default=1500.0, help="updates a second")
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one stretch")
    parser.add_argument("--turn", type=float, default=0.3, help="seconds before it that do not count")
    parser.add_argument("--warm", type=float, default=8.0)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--people", type=int, default=5000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--dry", action="store_true", help="print only, write no row")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as parent, Child(streams={"s": 4}, keep=False) as kinesis:
        serving = Serving(Path(parent), configuration(kinesis.url))
        try:
            found = measured(serving, Path(parent), options)
        finally:
            serving.close()
    text = row(options, load, found)
    print(text)
    if not options.dry:
        RESULTS.write_text((RESULTS.read_text() if RESULTS.exists() else HEAD) + text)


def row(options: argparse.Namespace, load: float, found: Found) -> str:
    """A section of the results."""
    command = shlex.join(
        ["make", "bench", "NAME=live", *([f"ARGS={' '.join(sys.argv[1:])}"] if sys.argv[1:] else [])]
    )
    low, high = found.bounds()
    engine, watched = (sum(each.engine for each in of) for of in (found.without, found.watched))
    control = [1000 * statistics.median(each.control for each in of) for of in (found.without, found.watched)]
    count = len(found.ratios)
    return (
        f"\n## {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n\n`{command}`, {machine()}, load {load:.2f} at the start, "
        f"{options.rate:,.0f} updates a second, stretches of {options.seconds:g} s\n\n"
        "| pairs | engine, CPU-ms a second, without | with | dearer by, median of pairs (95 % within) | by sums "
        "| control process, without | with | messages shown | counted instead |\n"
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
        f"| {count} | {1000 * engine / count:.0f} | {1000 * watched / count:.0f} "
        f"| **{statistics.median(found.ratios):+.1%}** ({low:+.1%} to {high:+.1%}) | {watched / engine - 1:+.1%} "
        f"| {control[0]:.0f} | {control[1]:.0f} | {found.shown:,} | {found.missed:,} |\n"
    )


if __name__ == "__main__":
    main()
