"""What the commands share: their settings, their words, and how they are stopped."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer
import uvloop
from rich.console import Console

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


def plain(text: str) -> str:
    """Text of ours in which rich finds no markup."""
    return text.replace("[", r"\[")


def settings_of(data_dir: Path | None, **given: Any) -> Settings:
    """The settings, what was given on the command line before the environment's; logging is set up."""
    loaded = settings.load(data_dir=data_dir, **given)
    logs.configure(loaded.log_level, loaded.log_format)
    return loaded


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a loop of its own."""
    return uvloop.run(work)


def on_signals(stop: Callable[[], None]) -> None:
    """The first Ctrl-C or SIGTERM stops gracefully; the second ends the process where it stands."""
    loop = asyncio.get_running_loop()

    def first(number: signal.Signals) -> None:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)
        err.print("stopping: what is on its way is finished, the rest is kept (once more to end at once)")
        stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, first, number)


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
