"""A process that serves: a collection listener, an engine, the socket, the health pages."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec
import watchfiles

from headrace import logs
from headrace.control.configuration import Configuration
from headrace.errors import ConfigurationError
from headrace.metrics import exposition
from headrace.runtimes.base import Report
from headrace.runtimes.embedded import observe
from headrace.runtimes.embedded.engine import Engine
from headrace.settings import Settings
from headrace.sources.base import Source
from headrace.sources.http import HttpCollection
from headrace.state.rocksdb import RocksState

from .answers import answering
from .engines import build_engine
from .flows import load_configuration, targets


async def watch_configuration(path: Path, engine: Engine, stopped: asyncio.Event) -> None:
    """Put each valid change of the file in force; one with mistakes is refused whole, the old one keeps running."""
    log = logs.get(file=str(path))
    async for _ in watchfiles.awatch(path.parent, stop_event=stopped, recursive=False):
        try:
            changed = load_configuration(path)
        except ConfigurationError as error:
            log.error(
                "configuration refused, the former one stays in force", mistakes=[str(m) for m in error.mistakes]
            )
            continue
        if changed.snapshot.version == engine.snapshot.version and _same_targets(changed, engine):
            continue
        await engine.reconfigure(changed.snapshot, targets(changed))
        log.info("configuration in force", version=changed.snapshot.version, flows=len(changed.snapshot.flows))


def _same_targets(changed: Configuration, engine: Engine) -> bool:
    new = {flow_id: target.identity for flow_id, target in targets(changed).items()}
    return new == {flow_id: flow.target for flow_id, flow in engine.flows.items()}


class Serving:
    """A collection listener, an engine, the socket and the health pages, alive together.

    Attributes:
        engine: The engine.
        collection: The collection listener; its port is known once ``ready``.
    """

    def __init__(
        self, state: RocksState, configuration: Configuration, settings: Settings, config_path: Path
    ) -> None:
        self._state = state
        self._settings = settings
        self._config_path = config_path
        self.collection = HttpCollection(
            settings.collection_host,
            settings.collection_port,
            extra={"/healthz": self._healthz, "/readyz": self._readyz, "/metrics": self._metrics},
        )
        self.engine = build_engine(state, configuration, settings, [self.collection])

    async def run(self, sources: Sequence[Source] = ()) -> Report:
        """Serve until ``engine.stop``."""
        stopped = asyncio.Event()
        watching = asyncio.create_task(watch_configuration(self._config_path, self.engine, stopped))
        try:
            async with answering(self._state, self._settings, self.engine):
                return await self.engine.run()
        finally:
            stopped.set()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

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
        body = exposition(lambda: observe.samples(self.engine))
        return 200, "text/plain; version=0.0.4; charset=utf-8", body
