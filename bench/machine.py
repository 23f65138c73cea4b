"""What a figure was measured on, in words that a row of bench/results can hold."""

from __future__ import annotations

import os
import platform
import random
import sys
import time


def machine() -> str:
    """Cores, memory, processor and interpreter; Debian's own is named, for it runs slower than others.

    Returns:
        As in ``2 cores, 24 GiB, x86_64, Python 3.11.2 of Debian``.
    """
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    packaged = " of Debian" if sys.base_prefix == "/usr" else ""
    return (
        f"{os.cpu_count()} cores, {gib:.0f} GiB, {platform.machine()}, Python {platform.python_version()}{packaged}"
    )


def pace() -> float:
    """CPU-seconds that a fixed loop takes, the best of five: how fast this machine is at this hour."""
    best_s = float("inf")
    for _ in range(5):
        begun_s, total = time.process_time(), 0
        for number in range(5_000_000):
            total += number * number
        best_s = min(best_s, time.process_time() - begun_s)
    return best_s


def walk() -> float:
    """CPU-seconds that adding two million numbers in no order takes, the best of five: how fast memory is now.

    The loop of ``pace`` needs the processor alone. What is measured here shares memory and its caches with whoever
    else is on the machine, and at one hour takes twice as long as at another while that loop takes the same.
    """
    numbers = list(range(1 << 21))
    random.Random(7).shuffle(numbers)
    best_s = float("inf")
    for _ in range(5):
        begun_s = time.process_time()
        sum(numbers)
        best_s = min(best_s, time.process_time() - begun_s)
    return best_s
