"""``make bench NAME=live``: what one open live view costs the engine while updates pour in.

One ``headrace serve`` of two processes. Stretches of the same load follow each other: in each pair one has a
browser's stream on ``/ui/live/stream`` open and one has not, and which comes first takes turns, so that a drift of
the machine falls on both. Counted is the CPU of the engine's process, all threads. The control process, which masks
and renders, is another one; it takes nothing from the engine but a core, and is not counted.
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

from bench.latency.__main__ import HEADRACE, configuration, cpu_s
from bench.latency.load import Load
from bench.machine import machine
from headrace.testing import Child

RESULTS = Path(__file__).parent.parent / "results" / "live.md"
START_BOUND_S = 60.0
GOAL = 0.05
HEAD = f"""# What an open live view costs the engine

`make bench NAME=live`: pairs of stretches of the same load on one `headrace serve`, one with a live view open on all
flows, one without; CPU-seconds of the engine's process for the same number of updates. The view shows at most 20
messages a second and counts the rest. The aim is under {GOAL:.0%}.
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
        command = [HEADRACE, "serve", "--config", str(config), "--data-dir", str(folder / "data"), "--port", "0"]
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


def stretch(serving: Serving, folder: Path, options: argparse.Namespace, number: int) -> float:
    """CPU-seconds of the engine for one stretch of load, until it is idle again."""
    file = folder / f"load-{number}"
    command = [sys.executable, "-W", "ignore", "-m", "bench.latency.load", str(serving.port), str(file)]
    for name in ("rate", "batch", "people", "connections", "seconds"):
        command += [f"--{name}", str(getattr(options, name))]
    before = cpu_s(serving.child.pid)
    subprocess.run(command, check=True, timeout=options.seconds + 60)
    time.sleep(options.tail)
    used = cpu_s(serving.child.pid) - before
    if msgspec.msgpack.decode(file.read_bytes(), type=Load).wrong:
        raise SystemExit("requests were not accepted")
    return used


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench NAME=live")
    parser.add_argument("--rate", type=float, default=1500.0, help="updates a second")
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=6.0, help="of one stretch")
    parser.add_argument("--tail", type=float, default=1.0, help="seconds after it that count too")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--people", type=int, default=5000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--dry", action="store_true", help="print only, write no row")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    without: list[float] = []
    watched: list[float] = []
    shown = missed = 0
    with tempfile.TemporaryDirectory() as parent, Child(streams={"s": 4}, keep=False) as kinesis:
        serving = Serving(Path(parent), configuration(kinesis.url))
        try:
            client = serving.signed_in()
            stretch(serving, Path(parent), options, -1)  # profiles are made, code is warm
            for pair in range(options.pairs):
                for follows in (pair % 2 == 0, pair % 2 == 1):
                    view = View(client) if follows else None
                    used = stretch(serving, Path(parent), options, 2 * pair + follows)
                    (watched if follows else without).append(used)
                    if view is not None:
                        view.close()
                        shown, missed = shown + view.shown, missed + view.missed
                print(f"pair {pair}: without {without[-1]:.2f} s, with {watched[-1]:.2f} s", flush=True)
        finally:
            serving.close()
    write(options, load, without, watched, shown, missed)


def write(
    options: argparse.Namespace, load: float, without: list[float], watched: list[float], shown: int, missed: int
) -> None:
    ratios = sorted(with_ / plain - 1 for plain, with_ in zip(without, watched, strict=True))
    command = shlex.join(
        ["make", "bench", "NAME=live", *([f"ARGS={' '.join(sys.argv[1:])}"] if sys.argv[1:] else [])]
    )
    text = (
        f"\n## {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n\n`{command}`, {machine()}, load {load:.2f} at the start\n\n"
        "| pairs | updates a stretch | engine CPU-s without, median | with, median | dearer by, median (least, most) "
        "| messages shown | counted instead |\n|--:|--:|--:|--:|--:|--:|--:|\n"
        f"| {len(ratios)} | {options.rate * options.seconds:,.0f} | {statistics.median(without):.2f} "
        f"| {statistics.median(watched):.2f} | **{statistics.median(ratios):+.1%}** ({ratios[0]:+.1%}, "
        f"{ratios[-1]:+.1%}) | {shown:,} | {missed:,} |\n"
    )
    print(text)
    if not options.dry:
        RESULTS.write_text((RESULTS.read_text() if RESULTS.exists() else HEAD) + text)


if __name__ == "__main__":
    main()
