"""The short form of the demo: a local Kinesis, a sample through the real engine, and its messages read back."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
import uvloop
from rich.console import Console

from headrace import bootstrap
from headrace.bootstrap import Engine
from headrace.cli.demo_folder import held
from headrace.cli.demo_view import DemoSummary, OrderCheck, show_message, show_summary
from headrace.cli.local_kinesis import LocalKinesis, local_kinesis, read_back
from headrace.cli.sample import HIGH_PROPENSITY, SPAN_MS, WHITE_PAPER, generate, sample_configuration
from headrace.clock import System
from headrace.runtimes.base import Report
from headrace.settings import Settings
from headrace.sources.base import Batch

STREAM: Final = "headrace-demo"
_SHARDS: Final = 2
_TICKS_A_SECOND: Final = 20
_NAMES: Final = {
    f"ups/{HIGH_PROPENSITY}": "High propensity to convert",
    f"ups/{WHITE_PAPER}": "Downloaded a white paper",
}
_SHOWN_AT_FIRST: Final = 3
_SHOWN_A_SECOND: Final = 1.0


class PacedSample:
    """The sample as a source (contract: ``sources/base.py``): so many updates a second, to its end.

    Args:
        lines: The updates.
        rate: Updates a second.
    """

    id = "sample"

    def __init__(self, lines: Iterator[bytes], rate: int) -> None:
        self._lines = lines
        self._rate = rate
        self._done = 0
        self._due: float | None = None
        self._closed = asyncio.Event()

    async def open(self, position: bytes | None) -> None:
        """Begin; a sample does not resume."""

    async def read(self, most: int) -> Batch | None:
        """The updates of the next twentieth of a second."""
        loop = asyncio.get_running_loop()
        self._due = loop.time() if self._due is None else self._due + 1 / _TICKS_A_SECOND
        if self._due > loop.time():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closed.wait(), self._due - loop.time())
        if self._closed.is_set():
            return None
        first = self._done
        bodies = list(itertools.islice(self._lines, min(most, max(1, self._rate // _TICKS_A_SECOND))))
        self._done += len(bodies)
        if not bodies:
            return None
        return Batch(self.id, bodies, lambda index: f"sample line {first + index + 1}", None, lambda _: None)

    async def close(self) -> None:
        """End."""
        self._closed.set()

    def position(self) -> bytes | None:
        """None: it does not resume."""
        return None

    def progress(self) -> tuple[int, int | None]:
        """Updates so far."""
        return self._done, None


def run_demo(console: Console, settings: Settings, *, profiles: int, seed: int, rate: int) -> int:
    """Run the short form of the demo; see ``headrace demo``.

    Returns:
        Exit code: 0 when every export was delivered, in order.

    Raises:
        RefusedError: Another one is at work on the folder.
    """
    # Not the folder of the form with a console: that one goes on where it was.
    folder = settings.data_dir / "demo-once"
    with held(folder):
        shutil.rmtree(folder, ignore_errors=True)
        return _run(console, settings, folder, profiles, seed, rate)


def _run(console: Console, settings: Settings, folder: Path, profiles: int, seed: int, rate: int) -> int:
    ours = dataclasses.replace(settings, data_dir=folder)
    console.print("starting a local Kinesis (moto's server) …", style="dim")
    with local_kinesis() as server:
        server.create_stream(STREAM, _SHARDS)
        folder.mkdir(parents=True)
        config = folder / "demo.yaml"
        config.write_text(sample_configuration(server.endpoint_url, STREAM, server.region))
        console.print(
            f"stream {STREAM} with {_SHARDS} shards at {server.endpoint_url}; configuration {config}", style="dim"
        )
        return uvloop.run(_Demo(console, ours, server, config).run(profiles, seed, rate))


class _Demo:
    def __init__(self, console: Console, settings: Settings, server: LocalKinesis, config: Path) -> None:
        self._console, self._settings, self._server, self._config = console, settings, server, config
        self._order = OrderCheck()
        self._shown = 0
        self._kinds_shown: set[str] = set()
        self._shown_at = 0.0

    async def run(self, profiles: int, seed: int, rate: int) -> int:
        configuration = bootstrap.load_configuration(self._config)
        start_ms = System().now_ms() - SPAN_MS
        source = PacedSample(generate(seed, profiles, start_ms), rate)
        loop = asyncio.get_running_loop()
        with bootstrap.open_state(self._settings) as state:
            engine = bootstrap.build_engine(state, configuration, self._settings, [source])
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, engine.stop)
            finished = asyncio.Event()
            following = asyncio.create_task(self._follow(finished))
            begun = loop.time()
            report = await engine.run(until_drained=True)
            elapsed_s = loop.time() - begun
            finished.set()
            await following
            show_summary(self._console, self._summary(engine, elapsed_s))
            return self._code(engine, report)

    async def _follow(self, finished: asyncio.Event) -> None:
        """Read the stream back, count, and show messages now and then: each new kind of cause at once."""
        loop = asyncio.get_running_loop()
        async for record in read_back(self._server, STREAM, finished):
            self._order.add(record.key, record.data)
            kinds = set(_kinds(record.data)) - self._kinds_shown
            due = loop.time() - self._shown_at >= _SHOWN_A_SECOND
            if self._shown < _SHOWN_AT_FIRST or kinds or due:
                self._kinds_shown |= kinds
                self._shown += 1
                self._shown_at = loop.time()
                show_message(self._console, record.shard, record.sequence, record.data, _NAMES)

    def _summary(self, engine: Engine, elapsed_s: float) -> DemoSummary:
        totals = engine.totals
        flows = totals.flows.values()
        triggers: dict[str, int] = {}
        for flow in flows:
            for name, n in flow.triggers.items():
                triggers[name] = triggers.get(name, 0) + n
        return DemoSummary(
            updates=totals.received,
            refused_updates=sum(totals.refused.values()),
            profiles=totals.profiles,
            exports=sum(f.exported for f in flows),
            exports_by_trigger=triggers,
            delivered=sum(f.delivered for f in flows),
            dead_lettered=sum(f.dead_lettered for f in flows),
            possible_duplicates=sum(f.possible_duplicates for f in flows),
            read_back=self._order.read,
            order_violations=self._order.violations,
            p50_ms=bootstrap.quantile_ms(engine.latency_ms, 0.5),
            p99_ms=bootstrap.quantile_ms(engine.latency_ms, 0.99),
            elapsed_s=elapsed_s,
            data_dir=str(self._settings.data_dir),
        )

    def _code(self, engine: Engine, report: Report) -> int:
        flows = engine.totals.flows.values()
        whole = report.drained and all(f.delivered == f.exported for f in flows)
        read = self._order.read >= sum(f.delivered for f in flows)
        return 0 if whole and read and not self._order.violations else 1


def _kinds(data: bytes) -> Sequence[str]:
    """What kinds of cause a message has, to show one of each early."""
    block = msgspec.json.decode(data).get("_headrace", {})
    cause = block.get("cause", {})
    kinds = list(cause.get("triggers", ()))
    kinds += ["left"] if cause.get("left") else []
    kinds += ["absorbed"] if block.get("absorbed") else []
    return kinds
