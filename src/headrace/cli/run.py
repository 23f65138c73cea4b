"""``headrace run`` at work: the engine with its progress, and the exit code that says how it ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from headrace import bootstrap
from headrace.bootstrap import Engine
from headrace.bootstrap.alerting import alerting
from headrace.cli.tables import show_totals
from headrace.control.configuration import Configuration
from headrace.runtimes.base import Report
from headrace.settings import Settings
from headrace.sources.base import Source

DEAD_LETTERS: Final = 3
LEFT: Final = 4


class Run:
    """One run over inputs.

    Args:
        out: Where the table goes.
        err: Where progress and words go.
        drain_timeout_s: Longest wait for exports after the input's end; None for no end.
        follow: The input has no end: a stop is the way it ends.
        quiet: No progress, no table.
    """

    def __init__(
        self, out: Console, err: Console, *, drain_timeout_s: float | None, follow: bool, quiet: bool
    ) -> None:  # fmt: skip
        self._out, self._err = out, err
        self._drain_timeout_s = drain_timeout_s
        self._follow = follow
        self._quiet = quiet
        self._stopped_early = False

    async def run(
        self, settings: Settings, configuration: Configuration, sources: Sequence[Source],
        on_signals: Callable[[Callable[[], None]], None],
    ) -> int:  # fmt: skip
        """Read to the end, or until a signal.

        Args:
            settings: With the data folder.
            configuration: The flows.
            sources: What to read.
            on_signals: Takes what a signal should call.

        Returns:
            Exit code.
        """
        with bootstrap.open_state(settings) as state:
            engine = bootstrap.build_engine(state, configuration, settings, sources)
            since, letters_before = engine.totals.received, engine.totals.dead_letters
            bootstrap.tune_memory()
            on_signals(lambda: self._stop(engine))
            loop = asyncio.get_running_loop()
            begun = loop.time()
            async with contextlib.AsyncExitStack() as beside:
                await beside.enter_async_context(bootstrap.answering(state, settings, engine))
                if self._follow:  # a run that ends says at its end what was wrong
                    await beside.enter_async_context(alerting(engine, settings))
                report = await self._work(engine, sources)
            if not self._quiet:
                show_totals(self._out, engine.totals, report.flows, elapsed_s=loop.time() - begun, since=since)
            return self._code(report, engine.totals.dead_letters > letters_before)

    def _stop(self, engine: Engine) -> None:
        self._stopped_early = not engine.exhausted
        engine.stop()

    async def _work(self, engine: Engine, sources: Sequence[Source]) -> Report:
        loop = asyncio.get_running_loop()
        ended = 0.0
        report: Report | None = None
        with _progress(self._err, hidden=self._quiet or not self._err.is_terminal) as progress:
            task = progress.add_task("updates", total=None, figures="")
            async for now in bootstrap.running(engine, until_drained=True):
                report = now
                _show_progress(progress, task, engine, sources)
                if engine.exhausted and not ended:
                    ended = loop.time()
                if ended and self._drain_timeout_s is not None and loop.time() - ended > self._drain_timeout_s:
                    engine.stop(0.0)
        assert report is not None
        return report

    def _code(self, report: Report, letters: bool) -> int:
        for flow in report.flows:
            why = flow.halted or ("the flow is disabled" if flow.paused else "")
            if flow.pending:
                why = f": {why}" if why else ""
                self._say(f"flow {flow.name}: {flow.pending:,} exports are kept for the next run{why}")
            elif flow.halted:
                self._say(f"flow {flow.name}: {why}")
        if self._stopped_early and not self._follow:
            self._say("stopped before the end of the input; run again to go on where it stopped")
            return LEFT
        if report.timed_out or any(f.halted or f.pending for f in report.flows):
            return LEFT
        return DEAD_LETTERS if letters else 0

    def _say(self, words: str) -> None:
        self._err.print(words, markup=False, soft_wrap=True)


def _progress(err: Console, *, hidden: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[figures]}"),
        TimeElapsedColumn(), console=err, disable=hidden, transient=True,
    )  # fmt: skip


def _show_progress(progress: Progress, task: Any, engine: Engine, sources: Sequence[Source]) -> None:
    done = total = 0
    for source in sources:
        read, whole = source.progress()
        done += read
        total = -1 if whole is None or total < 0 else total + whole
    flows = engine.totals.flows.values()
    figures = (
        f"{engine.totals.received:,} updates, {sum(f.delivered for f in flows):,} delivered, "
        f"{sum(f.pending for f in flows):,} pending"
    )
    progress.update(task, completed=done, total=total if total >= 0 else None, figures=figures)
