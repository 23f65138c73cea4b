"""The demo on a terminal: the whole product on a local Kinesis, with an account, a flow, and people."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from headrace import logs
from headrace.bootstrap.control import build_control, open_store, opened, start_first
from headrace.cli.command import plain, run_to_end
from headrace.cli.local_kinesis import LocalKinesis, local_kinesis
from headrace.cli.sample import SPAN_MS, applied_configuration, generate
from headrace.cli.serve import serve_until_stopped
from headrace.clock import System
from headrace.connections import Answered, Connections
from headrace.control import files, links, organisations
from headrace.control.applying import apply_files
from headrace.control.organisations import FirstStart
from headrace.errors import BugError, RefusedError
from headrace.runtimes.socket import ask
from headrace.settings import Settings

STREAM: Final = "headrace-demo"
OTHER_STREAM: Final = "another-stream"
"""Empty: for whoever connects a destination in the console."""
RATE: Final = 25
"""Updates a second."""
_AT_FIRST: Final = 1500
"""Updates that come at once, so that there is something to see."""
_TOGETHER: Final = 16
_TOLD_S: Final = 1.0
_DRAIN_S: Final = 5.0


def run_service(console: Console, settings: Settings, *, profiles: int, seed: int, rate: int) -> int:
    """Run it until Ctrl-C; see ``headrace demo``.

    Args:
        console: What it says.
        settings: Where it listens; its data lie in the folder ``demo`` of the data folder, new with each start.
        profiles: People in each of the samples that follow each other.
        seed: Of the first sample.
        rate: Updates a second.

    Returns:
        Exit code: 0.

    Raises:
        CheckError: The local Kinesis did not start.
        RefusedError: Another one is at work on the folder.
    """
    folder = settings.data_dir / "demo"
    if ask(folder, "addresses") is not None:
        raise RefusedError(f"a demo runs already on {folder}; end it, or choose another folder with --data-dir")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ours = _ours(settings, folder)
    logs.configure(ours.log_level, ours.log_format)
    console.print("starting a local Kinesis (moto's server) …", style="dim")
    with local_kinesis() as server:
        server.create_stream(STREAM, 2)
        server.create_stream(OTHER_STREAM, 1)
        first = _prepared(ours, server)
        lines = _people(profiles, seed)
        return run_to_end(
            serve_until_stopped(
                ours, None, [], api=True, announce=lambda serving, _: _Visit(console, ours, server, first).run(
                    serving, lines, rate
                ),
            )
        )  # fmt: skip


def _ours(settings: Settings, folder: Path) -> Settings:
    """Settings of the demo: of its surroundings only where it listens and how it logs."""
    return Settings(
        data_dir=folder,
        api_host=settings.api_host,
        api_port=_port(settings.api_host, settings.api_port),
        collection_host=settings.collection_host,
        collection_port=_port(settings.collection_host, settings.collection_port),
        connection_hosts="127.0.0.1",
        memory_bytes=settings.memory_bytes,
        drain_timeout_s=min(settings.drain_timeout_s, _DRAIN_S),
        alert_log="no",
        log_level="warning" if settings.log_level == "info" else settings.log_level,
        log_format=settings.log_format,
    )


def _port(host: str, port: int) -> int:
    """The port, or a free one when somebody else listens there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for wanted in (port, 0):
        with contextlib.suppress(OSError), socket.create_server((host, wanted), family=family) as listening:
            return int(listening.getsockname()[1])
    return port


def _prepared(settings: Settings, server: LocalKinesis) -> FirstStart:
    """Make the control plane with the sample's connection, audiences and flow; its first credentials."""
    store = open_store(settings)
    try:
        first = start_first(build_control(settings, store), settings)
    finally:
        store.close()
    assert first is not None
    sample = settings.data_dir / "demo.yaml"
    sample.write_text(applied_configuration(server.endpoint_url, STREAM, server.region), encoding="utf-8")
    with opened(settings, unbound=True) as (control, caller):
        problems = apply_files(control, caller, files.read(sample)).problems
    if problems:
        raise BugError(problem="; ".join(f"{each.place}: {each.problem}" for each in problems))
    return first


def _people(profiles: int, seed: int) -> Iterator[bytes]:
    """Updates without end: one sample after the other, of other people each."""
    start_ms = System().now_ms() - SPAN_MS
    return itertools.chain.from_iterable(generate(each, profiles, start_ms) for each in itertools.count(seed))


class _Visit:
    """What happens once it serves: the address is told, and people come."""

    def __init__(self, console: Console, settings: Settings, server: LocalKinesis, first: FirstStart) -> None:
        self._console, self._settings, self._server, self._first = console, settings, server, first
        self._sent = self._refused = 0

    async def run(self, serving: Any, lines: Iterator[bytes], rate: int) -> None:
        """Until cancelled."""
        await serving.engine.started.wait()
        await self._answers()
        self._welcome(serving, rate)
        telling = asyncio.create_task(self._tell(serving))
        try:
            async for _ in self._posted(lines, rate):
                pass
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
            self._line("")

    async def _answers(self) -> None:
        """Wait for API and console; a call waits by itself until they listen."""
        api = Connections(self._settings.api_host, self._settings.api_port, most=1, timeout_s=60.0)
        try:
            await api.ask(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"")
        finally:
            await api.close()

    def _welcome(self, serving: Any, rate: int) -> None:
        said, first = serving.addresses({}), self._first
        with opened(self._settings) as (control, _):
            caller = organisations.system_caller(control, self._settings.sandbox)
            link = links.create_link(control, caller, first.user.name)
        rows = (
            ("console", f"[bold]{said['api']}{link.path.reveal()}[/bold]"),
            ("", "this link signs you in once, within ten minutes"),
            ("sign in again", f"{said['api']}/ as {first.user.name} with {first.user.secret.reveal()}"),
            ("REST API", f"{said['api']}/data/foundation/flowservice (docs/api.md)"),
            ("collection", said["collection"].replace("{inlet}", "demo")),
            ("local Kinesis", f"{self._server.endpoint_url}, streams {STREAM} and {OTHER_STREAM}, any keys"),
            ("data", plain(str(self._settings.data_dir))),
        )
        self._console.print("\nHeadrace runs. Open the console:\n", style="bold")
        for name, words in rows:
            self._console.print(f"  [dim]{name:<14}[/dim] {words}", soft_wrap=True)
        self._console.print(f"\nPeople come and go, {rate} updates a second, until Ctrl-C.\n", style="dim")

    async def _posted(self, lines: Iterator[bytes], rate: int) -> AsyncIterator[None]:
        """Post the updates: some at once, then so many a second; a turn for each group."""
        settings = self._settings
        collection = Connections(settings.collection_host, settings.collection_port, most=_TOGETHER)
        loop = asyncio.get_running_loop()
        try:
            for _ in range(_AT_FIRST // _TOGETHER):
                await asyncio.gather(*(self._post(collection, line) for line in itertools.islice(lines, _TOGETHER)))
                yield
            due_s = loop.time()
            for line in lines:
                await self._post(collection, line)
                due_s = max(due_s + 1 / rate, loop.time() - 1.0)
                await asyncio.sleep(max(0.0, due_s - loop.time()))
                yield
        finally:
            await collection.close()

    async def _post(self, collection: Connections, line: bytes) -> None:
        head = (
            f"POST /collection/demo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(line)}\r\n\r\n"
        )
        answer = await collection.ask(head.encode(), line)
        self._sent += 1
        if not (isinstance(answer, Answered) and answer.status == 200):
            self._refused += 1

    async def _tell(self, serving: Any) -> None:
        """How it stands, on one line that the next one replaces."""
        while True:
            await asyncio.sleep(_TOLD_S)
            totals = serving.engine.totals
            delivered = sum(each.delivered for each in totals.flows.values())
            words = f"{self._sent:,} updates · {totals.profiles:,} profiles · {delivered:,} messages delivered"
            self._line(words)

    def _line(self, words: str) -> None:
        self._console.file.write(f"\x1b[2K{words}\r")
        self._console.file.flush()
