"""Notes what a soak run came to: one dated row in bench/results/soak.md."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Final

_RESULTS: Final = Path(__file__).parents[2] / "bench" / "results" / "soak.md"
_HEAD: Final = """# Soak: drawn cases and long outages

`make soak`: what of it has figures. A failure is a case whose stream is not what the independent fold of its
updates says, or whose totals do not say what the stream holds.

| when | what | machine | cases | failures | figures |
|---|---|---|--:|--:|---|
"""


def machine() -> str:
    """Cores, memory, processor, Python, and how busy the machine is."""
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return (
        f"{os.cpu_count()} cores, {gib:.0f} GiB, {platform.machine()}, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.2f}"
    )


def note(what: str, figures: str, cases: int, failures: int) -> None:
    """Append a row."""
    if not _RESULTS.exists():
        _RESULTS.write_text(_HEAD)
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    with _RESULTS.open("a") as file:
        file.write(f"| {when} | {what} | {machine()} | {cases:,} | {failures} | {figures} |\n")
