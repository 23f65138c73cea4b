"""I2, I3, I4, I5, I7, I8 under whatever can happen at once: drawn interleavings of updates, merges, faults of every
kind, shards that throttle, split and merge, budgets that run over, stops, crashes, power cuts and changes of
configuration. Two hundred seeded cases here, two thousand in `make soak`, which notes them in bench/results/soak.md.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from tests.soak.interleaving import run_case
from tests.soak.results import note

CASES = 200
SOAK_CASES = 2000
PARTS = 4


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_happens_nothing_is_lost_and_the_order_kept(part: int, soak: bool, tmp_path: Path) -> None:
    """Every case ends with the stream holding what the independent fold says, and with totals that say so."""
    cases = SOAK_CASES if soak else CASES
    begun_s = time.process_time()
    counts: Counter[str] = Counter()
    failures: list[str] = []
    for seed in range(part, cases, PARTS):
        case = run_case(seed, tmp_path / str(seed))
        if case.problems:
            failures.append(f"seed {seed}: {'; '.join(case.problems)}")
        counts.update(
            updates=case.updates, written=case.written, repeats=case.duplicates, lives=case.lives,
            crashes=case.crashes, held=case.held,
        )  # fmt: skip
    used_s = time.process_time() - begun_s
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    print(f"{cases // PARTS} cases, {told}, {used_s:.0f} CPU-seconds, {len(failures)} failures")
    if soak:
        note(
            "interleavings", f"seeds {part}, {part + PARTS}, … below {cases:,}: {told}", cases // PARTS, len(failures)
        )
    assert counts["crashes"] > cases / PARTS / 8, "too few crashes to show anything"
    assert counts["repeats"] > 0, "no case made a repeat, so that repeats were not judged"
    assert not failures, "\n".join(failures[:5])
