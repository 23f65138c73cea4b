"""Kept connections on real sockets: C1 to C3 of ``headrace.connections``, and every way to lose an answer."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Self

import pytest
import trustme
import uvloop

from headrace.connections import Answered, Connections, Loss, Lost, Proxy

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-One: a\r\nx-one: b\r\n\r\nok"
Reply = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]
"""Answers one request; true to go on with the connection."""


LOOPS: dict[str, Callable[[Coroutine[Any, Any, Any]], Any]] = {"asyncio": asyncio.run, "uvloop": uvloop.run}
_loop = "uvloop"


@pytest.fixture(autouse=True, params=LOOPS)
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything holds on both loops."""
    monkeypatch.setitem(globals(), "_loop", request.param)


def going(what: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end, for twenty seconds at the most."""

    async def bounded() -> Any:
        return await asyncio.wait_for(what, 20)

    return LOOPS[_loop](bounded())


def head(length: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % length


async def request(reader: asyncio.StreamReader) -> bytes:
    """Read one request; its body."""
    text = await reader.readuntil(b"\r\n\r\n")
    length = int(text.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    return await reader.readexactly(length)


class Server:
    """Answers by turns, one reply a request; keeps the bodies it got, and counts connections."""

    def __init__(self, *replies: bytes | Reply, tls: ssl.SSLContext | None = None) -> None:
        self._replies, self._tls = list(replies), tls
        self.got: list[bytes] = []
        self.connections = 0
        self.most = 0
        self._now = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            while True:
                self.got.append(await request(reader))
                reply = self._replies.pop(0) if self._replies else OK
                if isinstance(reply, bytes):
                    writer.write(reply)
                    if not reply:
                        break
                elif not await reply(reader, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._now -= 1
            writer.close()


def asking(server: Server, *bodies: bytes, together: bool = False, **options: Any) -> list[Answered | Lost]:
    """What each body is answered; one after the other, or all at once."""

    async def run() -> list[Answered | Lost]:
        async with server:
            connections = Connections("127.0.0.1", server.port, **options)
            try:
                if together:
                    return list(await asyncio.gather(*(connections.ask(head(len(b)), b) for b in bodies)))
                return [await connections.ask(head(len(b)), b) for b in bodies]
            finally:
                await connections.close()

    found: list[Answered | Lost] = going(run())
    return found


def test_a_connection_is_kept_and_an_answer_told() -> None:
    """Two requests go over one connection; of equal headers the last counts, whatever their case."""
    server = Server()
    found = asking(server, b"one", b"two")
    assert [a.body for a in found if isinstance(a, Answered)] == [b"ok", b"ok"]
    assert isinstance(found[0], Answered)
    assert (found[0].status, found[0].header(b"x-one"), found[0].header(b"none")) == (200, "b", "")
    assert (server.got, server.connections) == ([b"one", b"two"], 1)


def test_a_large_body_arrives_whole() -> None:
    """Ten megabytes, more than any buffer on the way."""
    body = bytes(range(256)) * 40_960
    server = Server()
    (found,) = asking(server, body)
    assert isinstance(found, Answered)
    assert server.got == [body]


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    ],
    ids=["in chunks", "after an interim answer", "that closes"],
)
def test_other_ways_to_answer(reply: bytes) -> None:
    """Chunks, an interim answer, a close announced: the answer is the same, and the next request is answered too."""
    server = Server(reply, OK)
    found = asking(server, b"1", b"2")
    assert [a.body for a in found if isinstance(a, Answered)] == [b"ok", b"ok"]
    assert server.connections == (2 if b"close" in reply else 1)


@pytest.mark.parametrize(
    "reply",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", b"\x00nothing like HTTP\r\n\r\n", b"HTTP/1.1 2"],
    ids=["nothing", "half a body", "something else", "half a line"],
)
def test_c1_c3_what_is_not_answered_is_lost_once(reply: bytes) -> None:
    """Sent, and told so; never written a second time; and that connection is used no more."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        del reader
        writer.write(reply)
        return False

    server = Server(answer, OK)
    first, second = asking(server, b"1", b"2")
    assert first == Lost(Loss.CONNECTION_LOST, sent=True)
    assert isinstance(second, Answered)
    assert (server.got, server.connections) == ([b"1", b"2"], 2)


def test_c3_bytes_that_nobody_asked_for_end_the_connection() -> None:
    """A second answer to one request is not taken for that of the next."""
    server = Server(OK + b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", OK)
    first, second = asking(server, b"1", b"2")
    assert isinstance(first, Answered)
    assert isinstance(second, Answered)
    assert (first.status, second.status, server.connections) == (200, 200, 2)


def test_c3_an_answer_before_the_body_has_left_is_told_and_the_connection_dropped() -> None:
    """As servers refuse what is too large; the rest of that body must not be read as a request."""

    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        del reader
        writer.write(b"HTTP/1.1 413 Too large\r\nContent-Length: 0\r\n\r\n")
        await asyncio.sleep(10)
        return False

    class Hasty(Server):
        async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if self.connections:
                await super()._serve(reader, writer)
                return
            self.connections += 1
            await reader.readuntil(b"\r\n\r\n")
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            try:
                await early(reader, writer)
            except asyncio.CancelledError:
                writer.transport.abort()

    server = Hasty()
    first, second = asking(server, b"x" * (8 << 20), b"2")
    assert isinstance(first, Answered)
    assert first.status == 413
    assert isinstance(second, Answered)
    assert server.got == [b"2"]


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Never answers."""
    del writer
    await reader.read()
    return False


def test_c2_out_of_time() -> None:
    """Sent and not answered in time: its fate is not known."""
    server = Server(silent)
    assert asking(server, b"1", timeout_s=1.0) == [Lost(Loss.TIMEOUT, sent=True)]
    assert server.got == [b"1"]


def test_c2_out_of_time_before_its_turn() -> None:
    """Not even begun in time, since the one connection was busy all along: it was not sent."""

    async def run(server: Server) -> Answered | Lost:
        async with server:
            connections = Connections("127.0.0.1", server.port, most=1)
            busy = asyncio.create_task(connections.ask(head(1), b"1"))
            while not server.got:
                await asyncio.sleep(0.001)
            connections._timeout_s = 0.05
            found = await connections.ask(head(1), b"2")
            busy.cancel()
            await asyncio.gather(busy, return_exceptions=True)
            await connections.close()
            return found

    server = Server(silent)
    assert going(run(server)) == Lost(Loss.TIMEOUT)
    assert server.got == [b"1"]


def test_c3_no_more_connections_than_allowed() -> None:
    """Twenty requests at once over three connections; all are answered."""
    server = Server()
    found = asking(server, *(b"%d" % n for n in range(20)), together=True, most=3)
    assert all(isinstance(each, Answered) for each in found)
    assert sorted(server.got) == sorted(b"%d" % n for n in range(20))
    assert server.most <= 3


def test_c3_who_gives_up_leaves_no_answer_behind() -> None:
    """A request that was cancelled takes its connection along, so that its answer is not the next one's."""

    async def run(server: Server) -> tuple[Answered | Lost, int]:
        async with server:
            connections = Connections("127.0.0.1", server.port, most=1)
            task = asyncio.create_task(connections.ask(head(1), b"1"))
            while not server.got:
                await asyncio.sleep(0.001)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            found = await connections.ask(head(1), b"2")
            await connections.close()
            return found, server.connections

    server = Server(silent)
    found, count = going(run(server))
    assert isinstance(found, Answered)
    assert (server.got, count) == ([b"1", b"2"], 2)


def test_who_waits_for_a_place_and_gives_up_does_not_keep_it() -> None:
    """The place goes to the next in line."""

    async def run(server: Server) -> Answered | Lost:
        async with server:
            connections = Connections("127.0.0.1", server.port, most=1)
            first = asyncio.create_task(connections.ask(head(1), b"1"))
            while not server.got:
                await asyncio.sleep(0.001)
            waiting = [asyncio.create_task(connections.ask(head(1), b"%d" % n)) for n in (2, 3)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            first.cancel()
            found = await waiting[1]
            await asyncio.gather(first, *waiting, return_exceptions=True)
            await connections.close()
            return found

    assert isinstance(going(run(Server(silent))), Answered)


def test_closing_tells_everybody() -> None:
    """Who has sent does not know its fate, who waited for a place or comes later has not been sent."""

    async def run(server: Server) -> list[Answered | Lost]:
        async with server:
            connections = Connections("127.0.0.1", server.port, most=1)
            tasks = [asyncio.create_task(connections.ask(head(1), b"%d" % n)) for n in (1, 2)]
            while not server.got:
                await asyncio.sleep(0.001)
            await connections.close()
            return [*await asyncio.gather(*tasks), await connections.ask(head(1), b"3")]

    server = Server(silent)
    found = going(run(server))
    assert found == [Lost(Loss.CONNECTION_LOST, sent=True), Lost(Loss.CLOSED), Lost(Loss.CLOSED)]
    assert server.got == [b"1"]


def test_a_tunnel_to_a_proxy_that_speaks_tls() -> None:
    """TLS to the proxy, and within it TLS to the host; both are verified."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    asked: list[bytes] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(65_536):
            writer.write(part)
            await writer.drain()
        writer.close()

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        text = await reader.readuntil(b"\r\n\r\n")
        asked.append(text)
        port = int(text.split()[1].rpartition(b":")[2])
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Fine\r\n\r\n")
        await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer), return_exceptions=True)
        writer.close()

    async def run() -> Answered | Lost:
        proxy_server = await asyncio.start_server(tunnel, "127.0.0.1", 0, ssl=context)
        port = proxy_server.sockets[0].getsockname()[1]
        async with Server(tls=context) as server, proxy_server:
            proxy = Proxy("127.0.0.1", port, trusting, "Basic eA==")
            connections = Connections("127.0.0.1", server.port, tls=trusting, proxy=proxy)
            found = await connections.ask(head(3), b"abc")
            await connections.close()
            return found

    found = going(run())
    assert isinstance(found, Answered)
    assert b"\r\nProxy-Authorization: Basic eA==\r\n" in asked[0]
