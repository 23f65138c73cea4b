"""``make bench NAME=backfill``: a run over profiles none of which is to be sent; a row in bench/results/backfill.md.

The profiles are those of bench/road (whole records of about 670 bytes), on RocksDB. Every one has the audience
that the run is about, most as members, so each is read, decoded and decided; a time of qualification that nobody
meets leaves all of them out. Counted is the CPU of the process, all threads, while the run is under way. A second
run is about an audience that no profile has.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import uvloop

from bench.machine import machine
from bench.road.updates import FIRST_AUDIENCE, configuration, updates
from headrace import bootstrap, settings
from headrace.runtimes.embedded.engine import Engine
from headrace.runtimes.embedded.runs import Order
from headrace.sources.jsonl import JsonLines
from headrace.testing import Child

RESULTS = Path(__file__).parent.parent / "results" / "backfill.md"
NOBODYS = "0b4d1f0e-1111-4c1e-9b7e-2c6f5f0a0099"
HEAD = """# Backfill: profiles per CPU-second

`make bench NAME=backfill`: runs over profiles on RocksDB, none of which is to be sent. "decided": all of them hold
the audience, and are read, decoded and left out for their time of qualification. "without the audience": none holds
it, which its bytes tell. The aim is 100,000 a CPU-second.
"""


class Measured(msgspec.Struct):
    name: str
    profiles: int
    cpu_s: float
    wall_s: float

    @property
    def rate(self) -> float:
        return self.profiles / self.cpu_s


async def walked(engine: Engine, name: str, order: Order) -> Measured:
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    run = engine.runs.start(order)
    while run.state == "running":
        await asyncio.sleep(0.01)
    cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    if run.exported or sum(run.excluded.values()) != run.scanned:
        raise SystemExit(f"not as it should be: {run}")
    return Measured(name, run.scanned, cpu_s, wall_s)


async def measure(folder: Path, url: str, profiles: int, rounds: int) -> list[Measured]:
    config = folder / "road.yaml"
    config.write_text(configuration(url).replace(f"id: {FIRST_AUDIENCE}", f"id: {NOBODYS}", 1))
    (folder / "updates.jsonl").write_bytes(b"\n".join(updates(profiles, profiles, 7, whole=True, fill=True)) + b"\n")
    loaded = settings.load(environ={}, data_dir=folder / "data")
    with bootstrap.open_state(loaded) as state:
        read = bootstrap.load_configuration(config)
        await bootstrap.build_engine(state, read, loaded, [JsonLines(str(folder / "updates.jsonl"))]).run(
            until_drained=True
        )
        engine = bootstrap.build_engine(state, read, loaded, [])
        bootstrap.tune_memory()
        running = asyncio.create_task(engine.run())
        await engine.started.wait()
        await asyncio.sleep(0.5)
        found = []
        for _ in range(rounds):
            found.append(await walked(engine, "decided", Order(flow="f2", kind="resend", qualified_before_ms=0)))
            found.append(await walked(engine, "without the audience", Order(flow="f1", kind="resend")))
        engine.check()
        engine.stop(0.0)
        await running
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench NAME=backfill")
    parser.add_argument("--profiles", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dry", action="store_true", help="print only, write no row")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder, Child(streams={"s1": 1, "s2": 1}, fast=True) as kinesis:
        found = uvloop.run(measure(Path(folder), kinesis.url, options.profiles, options.rounds))
    command = shlex.join(
        ["make", "bench", "NAME=backfill", *([f"ARGS={' '.join(sys.argv[1:])}"] if sys.argv[1:] else [])]
    )
    text = (
        f"\n## {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n\n`{command}`, {machine()}, load {load:.2f} at the start\n\n"
        "| run | profiles | rounds | profiles per CPU-second (least, most) | profiles/s |\n|---|--:|--:|--:|--:|\n"
    )
    for name in ("decided", "without the audience"):
        of = [m for m in found if m.name == name]
        rates = sorted(m.rate for m in of)
        text += (
            f"| {name} | {of[0].profiles:,} | {len(of)} | **{rates[len(rates) // 2]:,.0f}** ({rates[0]:,.0f}, "
            f"{rates[-1]:,.0f}) | {max(m.profiles / m.wall_s for m in of):,.0f} |\n"
        )
    print(text)
    if not options.dry:
        RESULTS.write_text((RESULTS.read_text() if RESULTS.exists() else HEAD) + text)


if __name__ == "__main__":
    main()
