"""The one place that builds concrete things: state, sources, destinations and the engine between them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import os
import random
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import watchfiles

from headrace import logs
from headrace.clock import Clock, System
from headrace.control import configuration as configurations
from headrace.control.configuration import Configuration
from headrace.destinations import registry
from headrace.destinations.base import Check, Destination, Spec, Writer
from headrace.errors import ConfigurationError, Mistake, RefusedError, StateError
from headrace.metrics import exposition
from headrace.runtimes.base import Report
from headrace.runtimes.embedded import explain, observe
from headrace.runtimes.embedded.engine import Engine, Options, Target
from headrace.runtimes.embedded.observe import quantile_ms
from headrace.runtimes.embedded.refold import refold
from headrace.runtimes.socket import Listener, ask
from headrace.settings import Settings
from headrace.sources.base import Source
from headrace.sources.http import HttpCollection
from headrace.state import ledger, reading
from headrace.state.backup import Tail, back_up, restore
from headrace.state.keys import Keys
from headrace.state.rocksdb import RocksState

__all__ = [
    "Engine", "Serving", "answering", "answers", "build_engine", "check_flows", "installation_key",
    "load_configuration", "open_state", "quantile_ms", "read_folder", "reading_folder", "restore_folder", "running",
    "specs", "tune_collector", "watch_configuration",
]  # fmt: skip

SLOW_ANSWERS: Final = frozenset({"backup", "replay", "journal", "dead-letters", "ledger", "explain"})
"""Requests that read much and change nothing."""

_KEY_BYTES: Final = 32
_MIB: Final = 1 << 20


def specs() -> dict[str, Spec]:
    """What every destination is, by connection spec id."""
    return {spec_id: destination.spec for spec_id, destination in registry.destinations().items()}


def load_configuration(path: Path) -> Configuration:
    """Read a configuration file.

    Raises:
        ConfigurationError: With every mistake.
    """
    configuration = configurations.load(path, specs())
    mistakes = [
        Mistake(f"flow {flow_id}: {m.place}", m.problem, m.allowed)
        for flow_id, target in configuration.targets.items()
        for m in _destination(target.spec_id).mistakes(target.revealed(), target.params)
    ]
    if mistakes:
        raise ConfigurationError(mistakes=mistakes)
    return configuration


# -- the data folder ------------------------------------------------------------------------------


def installation_key(settings: Settings) -> bytes:
    """The key that names profiles: the setting's, or the folder's own, made at first use."""
    given = settings.installation_key.reveal()
    if given:
        return hashlib.sha256(given.encode()).digest()
    path = settings.data_dir / "installation.key"
    with contextlib.suppress(FileNotFoundError):
        key = path.read_bytes()
        if len(key) != _KEY_BYTES:
            raise StateError(f"{path} is damaged; give the original back: without it, profile ids would change")
        return key
    key = secrets.token_bytes(_KEY_BYTES)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    return key


@contextlib.contextmanager
def open_state(settings: Settings) -> Iterator[RocksState]:
    """Hold the data folder.

    Raises:
        StateError: It is held, of a newer format, or unreadable.
    """
    state = RocksState(
        settings.data_dir,
        cache_bytes=max(settings.memory_bytes // 8, 8 * _MIB),
        memtable_bytes=min(max(settings.memory_bytes // 8, 4 * _MIB), 64 * _MIB),
    )
    try:
        yield state
    finally:
        state.close()


# -- the engine -----------------------------------------------------------------------------------


def _options(settings: Settings, flows: int) -> Options:
    return Options(
        batch_updates=settings.batch_updates,
        flow_memory_bytes=max(settings.memory_bytes // 2 // max(flows, 1), 2 * _MIB),
        linger_s=settings.linger_ms / 1000,
        journal_ms=settings.journal_hours * 3_600_000,
        journal_bytes=settings.journal_bytes,
        ledger_ms=settings.ledger_hours * 3_600_000,
        ledger_bytes=settings.ledger_bytes,
        dedup_window_ms=settings.dedup_window_hours * 3_600_000,
        drain_timeout_s=settings.drain_timeout_s,
        sandbox=settings.sandbox,
    )


def _targets(configuration: Configuration) -> dict[str, Target]:
    """How to open each flow's writer; the identity tells whether a changed configuration needs another one."""
    targets: dict[str, Target] = {}
    for flow_id, target in configuration.targets.items():
        destination = _destination(target.spec_id)
        auth, params = target.revealed(), dict(target.params)
        identity = hashlib.blake2b(
            msgspec.msgpack.encode([target.spec_id, sorted(auth.items()), sorted(params.items())])
        ).digest()

        def opened(
            destination: Destination = destination, auth: dict[str, Any] = auth, params: dict[str, Any] = params
        ) -> Writer:
            return destination.writer(auth, params)

        targets[flow_id] = Target(identity, opened, f"{target.spec_id}\0{destination.place(auth, params)}")
    return targets


def _destination(spec_id: str) -> Destination:
    found = registry.find(spec_id)
    if found is None:
        raise RefusedError(f"no destination has the connection spec id {spec_id}")
    return found


def build_engine(
    state: RocksState, configuration: Configuration, settings: Settings, sources: Sequence[Source],
    clock: Clock | None = None,
) -> Engine:  # fmt: skip
    """Put an engine together on an open state."""
    engine = Engine(
        state=state,
        snapshot=configuration.snapshot,
        targets=_targets(configuration),
        sources=sources,
        clock=clock or System(),
        rng=random.Random(),  # noqa: S311 - jitter of retries
        installation_key=installation_key(settings),
        options=_options(settings, len(configuration.snapshot.flows)),
    )
    engine.on_overflow.append(_tell_overflow)
    return engine


_OVERFLOW_WORDS: Final = {
    "over": "the backlog is over its budget: only current states are exported once there is room",
    "catching-up": "there is room again: the current state of what changed meanwhile is exported",
    "stopped": "a backlog is over its budget: no source is read until there is room",
    "recovered": "all is well again",
}


def _tell_overflow(flow_id: str, now: str) -> None:
    logs.get(flow=flow_id).warning(_OVERFLOW_WORDS[now])


def tune_collector() -> None:
    """Leave looking for cycles to the engine's housekeeping: the hot path makes none, and looking cost it a sixth."""
    gc.collect()
    gc.freeze()
    gc.disable()


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
        await engine.reconfigure(changed.snapshot, _targets(changed))
        log.info("configuration in force", version=changed.snapshot.version, flows=len(changed.snapshot.flows))


def _same_targets(changed: Configuration, engine: Engine) -> bool:
    new = {flow_id: target.identity for flow_id, target in _targets(changed).items()}
    return new == {flow_id: flow.target for flow_id, flow in engine.flows.items()}


async def check_flows(configuration: Configuration, only: str = "") -> dict[str, Check]:
    """Check each flow's connection; nothing is written.

    Args:
        configuration: Whose flows.
        only: One flow's id; empty for all.
    """
    chosen = {i: t for i, t in configuration.targets.items() if not only or i == only}
    checks = await asyncio.gather(
        *(_destination(t.spec_id).check(t.revealed(), t.params) for t in chosen.values())
    )  # fmt: skip
    return dict(zip(chosen, checks, strict=True))


# -- serving --------------------------------------------------------------------------------------


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


# -- reading, from within or from without ---------------------------------------------------------


def answers(state: RocksState, settings: Settings, engine: Engine | None) -> dict[str, Any]:
    """What can be asked of a data folder, by name; the socket and the command line share it."""
    keys = Keys(settings.sandbox)

    def totals(_: Mapping[str, Any]) -> Any:
        return observe.status(engine) if engine else {"totals": reading.totals(state, keys), "flows": []}

    def dead_letters(wanted: Mapping[str, Any]) -> Any:
        return list(
            reading.dead_letters(
                state, keys, limit=int(wanted.get("limit", 20)), kind=str(wanted.get("kind", "")),
                reason=str(wanted.get("reason", "")), flow=str(wanted.get("flow", "")),
            )
        )  # fmt: skip

    def dead_letter(wanted: Mapping[str, Any]) -> Any:
        return reading.dead_letter(state, keys, str(wanted.get("id", "")))

    def journal(wanted: Mapping[str, Any]) -> Any:
        blocks = []
        for block in reading.journal(state, keys, int(wanted.get("first", 0))):
            blocks.append(block)
            if len(blocks) >= int(wanted.get("limit", 10)):
                break
        return blocks

    def replay(_: Mapping[str, Any]) -> Any:
        return refold(state, keys, installation_key(settings))

    def backup(wanted: Mapping[str, Any]) -> Any:
        return back_up(state, installation_key(settings), Path(str(wanted["file"])), System().now_ms())

    return {
        "backup": backup,
        "status": totals,
        "dead-letters": dead_letters,
        "dead-letter": dead_letter,
        "journal": journal,
        "replay": replay,
        "ledger": lambda wanted: ledger.answer(state, keys, wanted),
        "explain": lambda wanted: explain.answer(state, keys, wanted),
    }


@contextlib.asynccontextmanager
async def answering(state: RocksState, settings: Settings, engine: Engine) -> AsyncIterator[None]:
    """Answer other processes' questions about the data folder, on the socket in it."""
    listener = Listener(settings.data_dir, answers(state, settings, engine), SLOW_ANSWERS)
    await listener.open()
    try:
        yield
    finally:
        await listener.close()


def restore_folder(settings: Settings, source: Path) -> Tail:
    """Make the data folder of a backup; it must be empty."""
    return restore(source, settings.data_dir)


@contextlib.contextmanager
def reading_folder(settings: Settings) -> Iterator[Callable[..., Any]]:
    """Ask the process that holds the folder, or open the folder when nobody does, for several questions.

    Yields:
        What takes a request and its arguments, and returns the answer as plain JSON values; bytes as base64 text.
    """
    if not (settings.data_dir / "FORMAT").exists():
        raise RefusedError(
            f"nothing is stored in {settings.data_dir} yet; choose the folder with --data-dir or HEADRACE_DATA_DIR"
        )
    with contextlib.ExitStack() as held:
        opened: list[RocksState] = []

        def asked(request: str, **arguments: Any) -> Any:
            if not opened:
                answer = ask(settings.data_dir, request, **arguments)
                if answer is not None:
                    return answer
                opened.append(held.enter_context(open_state(settings)))
            return msgspec.json.decode(msgspec.json.encode(answers(opened[0], settings, None)[request](arguments)))

        yield asked


def read_folder(settings: Settings, request: str, **arguments: Any) -> Any:
    """Ask one question; see ``reading_folder``."""
    with reading_folder(settings) as asked:
        return asked(request, **arguments)


async def running(engine: Engine, *, until_drained: bool) -> AsyncIterator[Report | None]:
    """Run an engine; None about ten times a second while it works, then the report."""
    work = asyncio.create_task(engine.run(until_drained=until_drained))
    try:
        while True:
            done, _ = await asyncio.wait((work,), timeout=0.1)
            if done:
                yield work.result()
                return
            yield None
    finally:
        if not work.done():
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
