"""Notes what a soak run came to: one dated row in bench/results/soak.md."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from bench.machine import machine

_RESULTS: Final = Path(__file__).parents[2] / "bench" / "results" / "soak.md"
_HEAD: Final = """# Soak: drawn cases and long outages

`make soak`: what of it has figures. A failure is a case whose stream is not what the independent fold of its
updates says, or whose totals do not say what the stream holds.

| when | what | machine | cases | failures | figures |
|---|---|---|--:|--:|---|
"""


def note(what: str, figures: str, cases: int, failures: int) -> None:
    """Append a row."""
    if not _RESULTS.exists():
        _RESULTS.write_text(_HEAD)
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    where = f"{machine()}, load {os.getloadavg()[0]:.2f}"
    with _RESULTS.open("a") as file:
        file.write(f"| {when} | {what} | {where} | {cases:,} | {failures} | {figures} |\n")
