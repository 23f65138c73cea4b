"""Every promise that a page makes has its proof: the tests it names exist, and no row is without."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "guarantees.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@cache
def functions_of(file: str) -> frozenset[str]:
    """Names of the functions of a test file, in classes too."""
    path = ROOT / file
    assert path.is_file(), f"{file} does not exist"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def pages() -> list[Path]:
    return [ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))]


def rows(text: str) -> list[tuple[str, list[str]]]:
    """Rows of tables below their heads, with the head's line."""
    found, head, previous = [], "", ""
    for line in text.splitlines():
        if re.fullmatch(r"\|( *:?-+:? *\|)+", line):
            head = previous
        elif line.startswith("|") and head:
            found.append((head, [cell.strip() for cell in line.strip("|").split(" | ")]))
        elif not line.startswith("|"):
            head = ""
        previous = line
    return found


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_named_tests_exist(page: Path) -> None:
    """Each `file::test` that a page names is a test of that file, and collected as one."""
    for file, test in NAMED.findall(page.read_text(encoding="utf-8")):
        assert test.startswith("test_"), test
        assert test in functions_of(file), f"{page.name} names {file}::{test}, which does not exist"


def test_every_promise_names_a_test() -> None:
    """In tables that promise, the last column is never without a test."""
    promised = [
        cells for head, cells in rows(PAGE.read_text(encoding="utf-8")) if head.rstrip("| ").endswith("shown by")
    ]
    assert len(promised) >= 20
    for cells in promised:
        assert NAMED.search(cells[-1]), f"no test shows: {cells[0]}"


def test_every_invariant_names_a_test() -> None:
    """All ten of the map have a test that would fail without them."""
    always = [cells for head, cells in rows((ROOT / "ARCHITECTURE.md").read_text("utf-8")) if head.startswith("| |")]
    assert [cells[0] for cells in always] == [f"I{n}" for n in range(1, 11)]
    for cells in always:
        assert NAMED.search(cells[-1]), f"no test for {cells[0]}"


def test_figures_about_others_are_those_of_the_rows() -> None:
    """What is said of a measurement stands in a dated row of its results."""
    said = re.search(r"out of order\n0 here, (\d+) boto3, (\d+) aiokpl, (\d+) async-kinesis", PAGE.read_text("utf-8"))
    assert said
    results = (ROOT / "bench" / "results" / "writer.md").read_text("utf-8")
    for name, count in zip(("headrace", "boto3", "aiokpl", "async-kinesis"), ("0", *said.groups()), strict=True):
        assert re.search(rf"(?m)^\| {name} \| 10000 \|.* {count} \|$", results), name


def test_the_bound_of_a_kill_is_the_engines() -> None:
    """The milliseconds on the page are the setting of the runtime."""
    from headrace.runtimes.base import SETTLE_WAIT_S

    assert f"delivered in the last {SETTLE_WAIT_S * 1000:.0f} ms" in PAGE.read_text(encoding="utf-8")


def test_the_default_of_the_consumer_is_on_the_page() -> None:
    """As many profiles are remembered as the page says."""
    from headrace.consumer import Deduplicator

    assert f"({Deduplicator().most:,} by default)" in PAGE.read_text(encoding="utf-8")
