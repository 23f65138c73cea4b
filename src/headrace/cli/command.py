"""What the commands share: their settings, their words, and how they are stopped."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import os
import select
import signal
from collections.abc import Callable, Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from headrace import logs, settings
from headrace.errors import RefusedError, UpdateRefusedError
from headrace.settings import Settings

T = TypeVar("T")

LEFT: Final = 4
"""Exit code: exports or input are left."""

Config = Annotated[
    Path, typer.Option("--config", "-c", metavar="FILE", help="Configuration file (docs/configuration.md).")
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="FOLDER", help="Data folder; else HEADRACE_DATA_DIR, else the platform's."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


_WIDEST: Final = 1000
_PREFIX: Final = "HEADRACE_"
_ALIKE: Final = 0.8


def show_table(console: Console, table: Table, *, markup: bool = True) -> None:
    """Print a table: in a terminal as wide as that is, elsewhere as wide as its rows, so that no id is broken."""
    width = console.width
    if not console.is_terminal and not settings.environment().get("COLUMNS"):
        console.width = _WIDEST
    console.print(table, markup=markup)
    console.width = width


def plain(text: str) -> str:
    """Text of ours in which rich finds no markup."""
    return text.replace("[", r"\[")


def settings_of(data_dir: Path | None, *, told: bool = False, **given: Any) -> Settings:
    """The settings, what was given on the command line before the environment's; logging is set up.

    Args:
        data_dir: As given.
        told: Another process of the same call has told what is misspelt.
        **given: Other settings as given, by their names.

    Raises:
        ConfigurationError: Every wrong value, with what is allowed.
    """
    loaded = settings.load(data_dir=data_dir, **given)
    warn([] if told else misspelt(settings.environment()))
    logs.configure(loaded.log_level, loaded.log_format)
    return loaded


def misspelt(names: Iterable[str]) -> list[str]:
    """What to say of variables that are named almost like a setting, and set nothing.

    Others that begin as ours do may be meant for a configuration file, which refers to variables by any name.
    """
    known = {row.variable.removeprefix(_PREFIX): row.variable for row in settings.TABLE}
    found = []
    for name in sorted(names):
        rest = name.removeprefix(_PREFIX)
        if rest == name or rest in known:
            continue
        if meant := difflib.get_close_matches(rest, known, 1, _ALIKE):
            found.append(f"{name} is not a setting and sets nothing; {known[meant[0]]} is one")
    return found


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a loop of its own."""
    return uvloop.run(work)


def on_signals(stop: Callable[[], None]) -> None:
    """The first Ctrl-C, SIGTERM or SIGHUP stops gracefully; the second ends the process where it stands."""
    loop = asyncio.get_running_loop()

    def first(number: signal.Signals) -> None:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)
        stop()
        say("stopping: what is on its way is finished, the rest is kept (once more to end at once)")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # as nohup leaves it
            loop.add_signal_handler(number, first, number)


def say(words: str, to: Console = err) -> None:
    """Tell, where somebody takes it: a terminal that is gone, or stands still, holds up nobody."""
    if takes(to):
        with let_go(to):
            to.print(words)


def takes(to: Console) -> bool:
    """Whether writing would not wait: a terminal that nobody reads is full at some time."""
    try:
        return bool(select.select([], [to.file.fileno()], [], 0)[1])
    except (OSError, ValueError):  # no file of the system's
        return True


@contextlib.contextmanager
def let_go(to: Console) -> Iterator[None]:
    """Write to a terminal that may be gone: then what is written from now on goes nowhere, without an error."""
    try:
        yield
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, to.file.fileno())
        os.close(nowhere)


def warn(warnings: list[str]) -> None:
    """Show what is accepted, but is hardly meant."""
    for warning in warnings:
        err.print(f"[yellow]warning:[/yellow] {plain(warning)}", soft_wrap=True)


def time_of(text: str, option: str) -> int:
    """A time of the command line, epoch milliseconds."""
    from headrace.core.times import canonical, to_ms

    try:
        return to_ms(canonical(text))
    except UpdateRefusedError as error:
        raise RefusedError(f"{option} {text} {error.problem} (allowed: as 2026-01-31T14:30:00Z)") from None
