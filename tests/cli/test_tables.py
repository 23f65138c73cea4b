"""Tables where they are printed: to a terminal, and into a pipe."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table

from headrace.cli.command import show_table

ID = "d7c1ef4b-d673-4a27-be38-66ceb2c36489"


def _shown(console: Console) -> list[str]:
    table = Table("flow", "why", box=None)
    table.add_row(ID, "the stream is not there; make it, or name another: this is longer than a line of eighty")
    show_table(console, table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_in_a_pipe_a_row_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever searches for an id finds it; a width that is asked for counts."""
    monkeypatch.delenv("COLUMNS", raising=False)
    console = Console(file=io.StringIO())
    assert sum(ID in line and "eighty" in line for line in _shown(console)) == 1
    assert console.width == 80, "for what is printed next"
    monkeypatch.setenv("COLUMNS", "60")
    assert len(_shown(Console(file=io.StringIO()))) > 2


def test_in_a_terminal_it_is_as_wide_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is broken by the terminal itself."""
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = _shown(Console(file=io.StringIO(), force_terminal=True, color_system=None, width=70))
    assert max(map(len, lines)) <= 70
