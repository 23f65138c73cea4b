"""The demo on a terminal: the whole product on a local Kinesis, with an account, a flow, and people."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shlex
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console

from headrace import logs
from headrace.bootstrap.control import build_control, open_store, opened, start_first
from headrace.cli.command import let_go, plain, run_to_end, takes
from headrace.cli.demo_folder import Kept, held, keep, kept
from headrace.cli.local_kinesis import LocalKinesis, local_kinesis
from headrace.cli.sample import SPAN_MS, applied_configuration, generate, somebody
from headrace.cli.serve import serve_until_stopped
from headrace.clock import System
from headrace.connections import Answered, Connections
from headrace.control import files, links, organisations
from headrace.control.applying import apply_files
from headrace.errors import BugError
from headrace.settings import Settings

STREAM: Final = "headrace-demo"
OTHER_STREAM: Final = "another-stream"
"""Empty: for whoever connects a destination in the console."""
API_STREAM: Final = "profiles"
"""Empty: for whoever walks through docs/api.md."""
RATE: Final = 25
"""Updates a second."""
_AT_FIRST: Final = 1500
"""Updates that come at once with the first start, so that there is something to see."""
_SAMPLES_A_START: Final = 1000
"""Seeds a start has for itself: those who come after a restart are other people."""
_TOGETHER: Final = 16
_TOLD_S: Final = 1.0
_DRAIN_S: Final = 5.0


def run_service(
    console: Console, settings: Settings, *, profiles: int, seed: int, rate: int, fresh: bool = False
) -> int:  # fmt: skip
    """Run it until Ctrl-C; see ``headrace demo``.

    Args:
        console: What it says.
        settings: Where it listens; its data lie in the folder ``demo`` of the data folder, and it goes on with them.
        profiles: People in each of the samples that follow each other.
        seed: Of the first sample.
        rate: Updates a second.
        fresh: Remove what an earlier start left, and begin anew.

    Returns:
        Exit code: 0.

    Raises:
        CheckError: The local Kinesis did not start.
        RefusedError: Another one is at work on the folder.
    """
    folder = settings.data_dir / "demo"
    with held(folder):
        before = None if fresh else kept(folder)
        if before is None:
            if folder.exists():
                console.print("begins anew; the last demo's data were removed", style="dim")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        return _run(console, _ours(settings, folder), before, profiles, seed, rate)


def _run(console: Console, ours: Settings, before: Kept | None, profiles: int, seed: int, rate: int) -> int:
    logs.configure(ours.log_level, ours.log_format)
    console.print("starting a local Kinesis (moto's server) …", style="dim")
    port = 0 if before is None else _port("127.0.0.1", before.port)
    with local_kinesis(port) as server:
        for stream, shards in ((STREAM, 2), (OTHER_STREAM, 1), (API_STREAM, 2)):
            server.create_stream(stream, shards)
        now = _prepared(ours, server, before)
        if before is None:
            first = itertools.islice(generate(seed, profiles), _AT_FIRST)
            now = msgspec.structs.replace(now, person=somebody(first))
        keep(ours.data_dir, now)
        lines = _people(profiles, seed + (now.starts - 1) * _SAMPLES_A_START)
        visit = _Visit(console, ours, server, now, moved=before is not None and before.port != now.port)
        return run_to_end(
            serve_until_stopped(
                ours, None, [], api=True, announce=lambda serving, _: visit.run(serving, lines, rate)
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


def _prepared(settings: Settings, server: LocalKinesis, before: Kept | None) -> Kept:
    """Make the control plane with the sample's connection, audiences and flow, where it is not there yet.

    Returns:
        Its first credentials, and where the local Kinesis is now.
    """
    port = int(server.endpoint_url.rpartition(":")[2])
    if before is not None:
        if port != before.port:
            _apply(settings, server)
        return msgspec.structs.replace(before, port=port, starts=before.starts + 1)
    store = open_store(settings)
    try:
        first = start_first(build_control(settings, store), settings)
    finally:
        store.close()
    assert first is not None
    _apply(settings, server)
    return Kept(
        port=port, starts=1, org=first.org, login=first.user.name, password=first.user.secret.reveal(),
        client_id=first.client.id, client_secret=first.client.secret.reveal(),
    )  # fmt: skip


def _apply(settings: Settings, server: LocalKinesis) -> None:
    sample = settings.data_dir / "demo.yaml"
    sample.write_text(applied_configuration(server.endpoint_url, STREAM, server.region), encoding="utf-8")
    with opened(settings, unbound=True) as (control, caller):
        problems = apply_files(control, caller, files.read(sample)).problems
    if problems:
        raise BugError(problem="; ".join(f"{each.place}: {each.problem}" for each in problems))


def _people(profiles: int, seed: int) -> Iterator[bytes]:
    """Updates without end: one sample after the other, of other people each."""
    start_ms = System().now_ms() - SPAN_MS
    return itertools.chain.from_iterable(generate(each, profiles, start_ms) for each in itertools.count(seed))


class _Visit:
    """What happens once it serves: the address is told, and people come."""

    def __init__(
        self, console: Console, settings: Settings, server: LocalKinesis, now: Kept, *, moved: bool
    ) -> None:  # fmt: skip
        self._console, self._settings, self._server = console, settings, server
        self._now, self._moved = now, moved
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
        said, now = serving.addresses({}), self._now
        with opened(self._settings) as (control, _):
            caller = organisations.system_caller(control, self._settings.sandbox)
            link = links.create_link(control, caller, now.login)
        streams = ", ".join((STREAM, OTHER_STREAM, API_STREAM))
        rows = (
            ("console", f"[bold]{said['api']}{link.path.reveal()}[/bold]"),
            ("", "this link signs you in once, within ten minutes"),
            ("sign in again", f"{said['api']}/ as {now.login} with {now.password}"),
            ("REST API", f"{said['api']}/data/foundation/flowservice (docs/api.md), after"),
            ("", plain(self._exported(said["api"], said["collection"]))),
            ("collection", said["collection"].replace("{inlet}", "demo")),
            (
                "local Kinesis",
                f"{self._server.endpoint_url}, streams {streams}, any keys, any region ({self._server.region})",
            ),
            ("somebody", f"{now.person}, of the namespace email: look them up in the console" if now.person else ""),
            ("data", plain(str(self._settings.data_dir))),
        )
        self._console.print("\nHeadrace runs. Open the console:\n", style="bold")
        for name, words in rows:
            if words:
                self._console.print(f"  [dim]{name:<14}[/dim] {words}", soft_wrap=True)
        if now.starts > 1:
            self._gone_on(serving)
        self._console.print(f"\nPeople come and go, {rate} updates a second, until Ctrl-C.", style="dim")
        self._console.print(
            "A few of the updates are malformed on purpose: the bell of the console then tells that updates were\n"
            "refused, which is no fault of yours.\n",
            style="dim", soft_wrap=True,
        )  # fmt: skip

    def _exported(self, api: str, collection: str) -> str:
        """What docs/api.md takes from the environment."""
        now = self._now
        named = {
            "BASE": api, "COLLECTION": collection.removesuffix("/collection/{inlet}"), "CLIENT_ID": now.client_id,
            "CLIENT_SECRET": now.client_secret, "ORG": now.org, "KINESIS_URL": self._server.endpoint_url,
        }  # fmt: skip
        return "export " + " ".join(f"{name}={shlex.quote(value)}" for name, value in named.items())

    def _gone_on(self, serving: Any) -> None:
        words = (
            f"\nIt goes on where it was, with {serving.engine.totals.profiles:,} profiles. The local Kinesis is new: "
            "its streams are empty, and those you made are gone. --fresh begins anew."
        )
        if self._moved:
            words += " Its port is another one too: connections of your own need the new URL."
        self._console.print(words, style="dim")

    async def _posted(self, lines: Iterator[bytes], rate: int) -> AsyncIterator[None]:
        """Post the updates: some at once, then so many a second; a turn for each group."""
        settings = self._settings
        collection = Connections(settings.collection_host, settings.collection_port, most=_TOGETHER)
        loop = asyncio.get_running_loop()
        try:
            for _ in range(_AT_FIRST // _TOGETHER if self._now.starts == 1 else 0):
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
            if refused := sum(totals.refused.values()):
                words += f" · {refused:,} malformed and refused"
            self._line(words)

    def _line(self, words: str) -> None:
        if takes(self._console):
            with let_go(self._console):
                self._console.file.write(f"\x1b[2K{words}\r")
                self._console.file.flush()
