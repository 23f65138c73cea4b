"""``make bench NAME=road``: the whole road, updates in to exports acknowledged; a row in bench/results/road.md.

A file of JSON Lines goes through the real engine on RocksDB (journal and ledger on, synced before each batch is
acknowledged) to two streams of a server in another process, whose CPU is not counted. Counted is the CPU of the
process that runs the engine, all threads, from the first read to the last settlement.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import uvloop

from bench.machine import machine, pace, walk
from bench.road.updates import configuration, updates
from headrace import bootstrap, settings
from headrace.core import plain
from headrace.sources.jsonl import JsonLines
from headrace.testing import Child

RESULTS = Path(__file__).parent.parent / "results" / "road.md"
HEAD = """# The whole road: updates per CPU-second

`make bench NAME=road`: updates from a JSON Lines file, pieces of profiles and whole records mixed (with `--whole`
whole records of about 670 bytes alone; `bench/road/updates.py` says what they are), two flows to two streams, about
an export an update; RocksDB, journal and ledger on, every batch synced before it is acknowledged; every export
acknowledged by a server in another process. CPU of the engine's process, all threads. Up to 2026-11-24 12:18 the
default was 200,000 updates about 50,000 people, since then 100,000 about 25,000; rows say which. From 2026-11-29 on
a row says how long a fixed loop took (`bench/machine.py`): the same machine is up to three times as slow at one hour
as at another, and only rows with a like figure compare. From 2026-11-30 06:30 on also how long a walk through memory
took, before and after: the loop is as fast while others use memory, and the road is not.
"""


class Report(msgspec.Struct):
    updates: int
    exports: int
    cpu_s: float
    wall_s: float
    peak_mb: float
    compiled: bool


async def measure(folder: Path, url: str, count: int, off: list[str]) -> Report:
    config = folder / "road.yaml"
    config.write_text(configuration(url))
    loaded = settings.load(environ={}, data_dir=folder / "data", **{f"{o}_hours": 0 for o in off if o != "c"})
    read = bootstrap.load_configuration(config)
    if "c" in off:
        vars(plain)["plan"] = lambda _: None
    with bootstrap.open_state(loaded) as state:
        engine = bootstrap.build_engine(state, read, loaded, [JsonLines(str(folder / "updates.jsonl"))])
        bootstrap.tune_memory()
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        report = await engine.run(until_drained=True)
        cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
        engine.check()
        flows = engine.totals.flows.values()
        exports = sum(f.exported for f in flows)
        if not report.drained or sum(f.delivered for f in flows) != exports or engine.totals.accepted != count:
            raise SystemExit(f"not everything arrived: {report}")
    import headrace.core.step as step

    # Not getrusage's figure: that of a child begins with what its parent held.
    status = Path("/proc/self/status").read_text()
    peak_mb = int(status.split("VmHWM:")[1].split()[0]) / 1024
    return Report(count, exports, cpu_s, wall_s, peak_mb, str(step.__file__).endswith(".so"))


def child(folder: Path, url: str, count: int, off: list[str]) -> Report:
    """One round in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "bench.road", "--in", str(folder), url, str(count), *off]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=900, check=True)
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Report)


def main() -> None:
    if sys.argv[1:2] == ["--in"]:
        report = uvloop.run(measure(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5:]))
        print(msgspec.json.encode(report).decode())
        return
    parser = argparse.ArgumentParser(prog="make bench NAME=road")
    parser.add_argument("--updates", type=int, default=100_000)
    parser.add_argument("--people", type=int, default=25_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dry", action="store_true", help="print only, write no row")
    parser.add_argument("--no-journal", action="append_const", dest="off", const="journal", help="keep no journal")
    parser.add_argument("--no-ledger", action="append_const", dest="off", const="ledger", help="keep no ledger")
    parser.add_argument("--pairs", action="store_true", help="after each round another without journal and ledger")
    parser.add_argument("--python", action="store_true", help="after each round another that Python decides, not C")
    parser.add_argument("--whole", action="store_true", help="every update is a whole record")
    parser.add_argument("--fill", action="store_true", help="each person comes once before anybody comes again")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    pace_s, walk_s = pace(), walk()
    reports, without, by_python = [], [], []
    with tempfile.TemporaryDirectory() as parent, Child(streams={"s1": 1, "s2": 1}, fast=True) as kinesis:
        made = Path(parent) / "updates.jsonl"
        with made.open("wb") as file:
            for update in updates(options.updates, options.people, 7, whole=options.whole, fill=options.fill):
                file.write(update + b"\n")
        size = made.stat().st_size / options.updates
        for number in range(options.rounds):
            folder = Path(parent) / str(number)
            folder.mkdir()
            os.link(made, folder / "updates.jsonl")
            reports.append(child(folder, kinesis.url, options.updates, options.off or []))
            print(f"{options.updates / reports[-1].cpu_s:10,.0f} updates/CPU-s  {reports[-1]}")
            if options.python:
                folder = Path(parent) / f"{number}-python"
                folder.mkdir()
                os.link(made, folder / "updates.jsonl")
                by_python.append(child(folder, kinesis.url, options.updates, [*(options.off or []), "c"]))
                print(f"{options.updates / by_python[-1].cpu_s:10,.0f} by Python  {by_python[-1]}")
            if options.pairs:
                folder = Path(parent) / f"{number}-without"
                folder.mkdir()
                os.link(made, folder / "updates.jsonl")
                without.append(child(folder, kinesis.url, options.updates, ["journal", "ledger"]))
                print(f"{options.updates / without[-1].cpu_s:10,.0f} without  {without[-1]}")
    row(options, reports, size, load, (pace_s, walk_s, walk()), cost(reports, without) + gain(reports, by_python))


def cost(reports: list[Report], without: list[Report]) -> str:
    """What journal and ledger cost, round by round: the CPU more than without them."""
    if not without:
        return ""
    shares = [100 * (one.cpu_s / other.cpu_s - 1) for one, other in zip(reports, without, strict=True)]
    return (
        f"\nJournal and ledger cost **{statistics.median(shares):.1f} %** more CPU than without them "
        f"({min(shares):.1f} to {max(shares):.1f} %, in {len(shares)} pairs of rounds after one another).\n"
    )


def gain(reports: list[Report], by_python: list[Report]) -> str:
    """What it brings that C decides plain updates, round by round."""
    if not by_python:
        return ""
    ratios = [other.cpu_s / one.cpu_s for one, other in zip(reports, by_python, strict=True)]
    rate = statistics.median(r.updates / r.cpu_s for r in by_python)
    return (
        f"\nDecided by Python alone, as compiled: {rate:,.0f}; with C **{statistics.median(ratios):.2f}** times as "
        f"many ({min(ratios):.2f} to {max(ratios):.2f}, in {len(ratios)} pairs of rounds after one another).\n"
    )


def row(
    options: argparse.Namespace, reports: list[Report], size: float, load: float, paces: tuple[float, float, float],
    more: str,
) -> None:  # fmt: skip
    command = shlex.join(
        ["make", "bench", "NAME=road", *([f"ARGS={' '.join(sys.argv[1:])}"] if sys.argv[1:] else [])]
    )
    rate = statistics.median(r.updates / r.cpu_s for r in reports)
    spread = [r.updates / r.cpu_s for r in reports]
    exports = reports[0].exports / options.updates
    now = datetime.now(UTC)
    text = (
        f"\n## {now:%Y-%m-%d %H:%M} UTC\n\n`{command}`, {machine()}, load {load:.2f} at the start, "
        f"a loop that measures the machine took {paces[0]:.2f} s of CPU, a walk through memory {paces[1]:.3f} s "
        f"before and {paces[2]:.3f} after, "
        f"{'compiled' if reports[0].compiled else 'interpreted'} core\n\n"
        "| updates a round | bytes | people | exports an update | rounds "
        "| updates per CPU-second (median, least, most) | updates/s | peak MB |\n|--:|--:|--:|--:|--:|--:|--:|--:|\n"
        f"| {options.updates:,} | {size:.0f} | {options.people:,} | {exports:.2f} | {len(reports)} | "
        f"**{rate:,.0f}** ({min(spread):,.0f}, {max(spread):,.0f}) | "
        f"{statistics.median(r.updates / r.wall_s for r in reports):,.0f} | {max(r.peak_mb for r in reports):.0f} |\n"
        f"{more}"
    )
    print(text)
    if not options.dry:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text((RESULTS.read_text() if RESULTS.exists() else HEAD) + text)


if __name__ == "__main__":
    main()
