"""``make bench NAME=api``: reads of a list of 100 flows, in requests per CPU-second of the server; a row each.

The server is a process of its own (uvicorn, SQLite in a file); its CPU time is read before and after from /proc, so
that neither the load nor anything else on the machine counts.
"""

from __future__ import annotations

import argparse
import http.client
import os
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from bench.machine import machine

RESULTS = Path(__file__).parent.parent / "results" / "api.md"
GOAL = 300
HEAD = f"""# The REST API: requests per CPU-second

`make bench NAME=api`: one process serves the control plane on SQLite, with 100 flows of three audiences and five
attributes each; several connections read, one request after the other. What counts is the server's own CPU time, of
all of its threads, user and system, so that the load and others on the machine do not. Every request signs in by its
token, looks up the account, its roles and the sandbox, and reads the list from the database.
The aim is {GOAL} reads of the whole list per CPU-second.
"""
BASE = "/data/foundation/flowservice"
CASES = {
    "list of 100 flows": f"{BASE}/flows",
    "list of 100 flows, filtered by audience": (
        f"{BASE}/flows?property=transformations[].params.segmentSelectors.selectors[].value.id==nobody"
    ),
    "list of 10 flows by name": f"{BASE}/flows?limit=10&orderby=name",
    "connection specs": f"{BASE}/connectionSpecs",
    "health": "/healthz",
}
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """CPU time of a process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def read(port: int, path: str, headers: dict[str, str], count: int, sizes: list[int]) -> None:
    """Send requests over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for _ in range(count):
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body[:300]
        sizes.append(len(body))
    connection.close()


def measure(
    pid: int, port: int, path: str, headers: dict[str, str], requests: int, connections: int
) -> dict[str, Any]:
    sizes: list[int] = []
    read(port, path, headers, 20, sizes)
    sizes.clear()
    before_s, started_s = cpu_s(pid), time.monotonic()
    threads = [
        threading.Thread(target=read, args=(port, path, headers, requests // connections, sizes))
        for _ in range(connections)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    used_s = cpu_s(pid) - before_s
    return {"rate": len(sizes) / used_s, "wall": len(sizes) / (time.monotonic() - started_s), "bytes": sizes[0]}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=1500)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--dry-run", action="store_true", help="show the row, do not keep it")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        child = subprocess.Popen([sys.executable, "-m", "bench.api.server", folder], stdout=subprocess.PIPE)
        try:
            assert child.stdout is not None
            started = msgspec.json.decode(child.stdout.readline())
            rows = {
                name: measure(
                    child.pid, started["port"], path, started["headers"], chosen.requests, chosen.connections
                )
                for name, path in CASES.items()
            }
        finally:
            child.terminate()
            child.wait(10)
    text = "\n".join(
        f"| {name} | {each['bytes']:,} | **{each['rate']:,.0f}** | {each['wall']:,.0f} |"
        for name, each in rows.items()
    )
    row = (
        f"\n## {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n\n`make bench NAME=api`, {machine()}, "
        f"load {os.getloadavg()[0]:.2f}, {chosen.requests} requests over "
        f"{chosen.connections} connections each\n\n| read | bytes | requests per CPU-second | per second |\n"
        f"|---|--:|--:|--:|\n{text}\n"
    )
    sys.stdout.write(row)
    if not chosen.dry_run:
        known = RESULTS.read_text() if RESULTS.exists() else HEAD
        RESULTS.write_text(known + row)


if __name__ == "__main__":
    main()
