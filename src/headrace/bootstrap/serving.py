"""``headrace serve``'s engine: the collection, the flows, the socket in the data folder, and the health pages."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from headrace.clock import System
from headrace.control.configuration import Configuration
from headrace.metrics import Shown, exposition
from headrace.runtimes.base import Report
from headrace.runtimes.embedded import observe
from headrace.runtimes.embedded.hours import Hours
from headrace.settings import Settings
from headrace.sources.base import Source
from headrace.sources.http import HttpCollection
from headrace.state.rocksdb import RocksState

from . import rules as rule
from .alerting import Watching, alerting
from .answers import answering
from .engines import build_engine
from .rules import Rules


async def _nothing() -> None:
    """Nothing is to be done before the socket is closed."""


class Serving:
    """A collection listener, an engine, the socket and the health pages, alive together.

    Args:
        state: The data folder, held.
        configuration: In force at the start.
        settings: The settings.
        rules: Which flows there are from then on.
        farewell: Awaited once everything is settled, while questions are still answered.
        inputs: Read beside the collection.

    Attributes:
        engine: The engine.
        collection: The collection listener; its port is known once ``ready``.
        api: URL of API and console, where they are served.
    """

    def __init__(
        self, state: RocksState, configuration: Configuration, settings: Settings, rules: Rules,
        farewell: Callable[[], Awaitable[None]] = _nothing, inputs: Sequence[Source] = (),
    ) -> None:  # fmt: skip
        self._state = state
        self._settings = settings
        self._rules = rules
        self._farewell = farewell
        self._watching: Watching | None = None
        self.api = ""
        self.collection = HttpCollection(
            settings.collection_host,
            settings.collection_port,
            certificate=settings.collection_certificate or None,
            key=settings.collection_certificate_key or None,
            extra={"/healthz": self._healthz, "/readyz": self._readyz, "/metrics": self._metrics},
        )
        self.engine = build_engine(state, configuration, settings, [self.collection, *inputs])

    async def run(self) -> Report:
        """Serve until ``engine.stop``."""
        stopped = asyncio.Event()
        hours = Hours(self.engine, System())
        keeping = [
            asyncio.create_task(self._rules.keep(self.engine, stopped)),
            asyncio.create_task(hours.keep()),
        ]
        try:
            more = {
                **rule.answers(self._rules, self.engine),
                "addresses": self.addresses,
                "hours": lambda _: hours.answer(),
            }
            async with (
                answering(self._state, self._settings, self.engine, more),
                alerting(self.engine, self._settings, hours) as self._watching,
                self._telemetry(),
            ):
                report = await self.engine.run()
                await self._farewell()
                return report
        finally:
            stopped.set()
            for task in keeping:
                task.cancel()
            await asyncio.gather(*keeping, return_exceptions=True)

    def addresses(self, _: Mapping[str, Any]) -> dict[str, str]:
        """URLs of what is served."""
        host = self._settings.collection_host
        scheme = "https" if self._settings.collection_certificate else "http"
        shown = f"[{host}]" if ":" in host else host
        found = {"collection": f"{scheme}://{shown}:{self.collection.port}/collection/{{inlet}}"}
        return found | ({"api": self.api} if self.api else {})

    def _shown(self) -> Shown:
        alerts = [(alert.kind, alert.flow) for alert in self._watching.open] if self._watching is not None else []
        return observe.shown(self.engine, System().now_ms(), alerts)

    def _telemetry(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Sends metrics and traces where a collector is configured; without one, nothing of it is imported."""
        if not self._settings.otel_endpoint:
            return contextlib.nullcontext()
        from .telemetry import telemetry

        return telemetry(self.engine, self._settings, System(), self._shown)

    async def _healthz(self) -> tuple[int, str, bytes]:
        return 200, "application/json", b'{"status":"alive"}'

    async def _readyz(self) -> tuple[int, str, bytes]:
        report = self.engine.report()
        body = {
            "status": "ready" if self.engine.ready else "starting or stopping",
            "flows": {f.flow_id: f.halted or ("paused" if f.paused else "running") for f in report.flows},
        }
        return (200 if self.engine.ready else 503), "application/json", msgspec.json.encode(body)

    async def _metrics(self) -> tuple[int, str, bytes]:
        body = exposition(self._shown)
        return 200, "text/plain; version=0.0.4; charset=utf-8", body
