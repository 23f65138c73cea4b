"""The socket in the data folder: commands ask the process that holds the folder, instead of opening it.

One request a connection, one answer: each a JSON object on one line. A request that streams is answered by a line for
each thing that happens, until the client closes. Only the folder's owner can connect.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import socket
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from headrace.errors import RefusedError, StateError

NAME: Final = "headrace.sock"
_MOST_BYTES: Final = 64 << 20
_TIMEOUT_S: Final = 30.0

Answer = Callable[[Mapping[str, Any]], Any]
"""Takes a request's arguments, gives what is answered: anything msgspec encodes, or a coroutine of it."""

Stream = Callable[[Mapping[str, Any]], AsyncGenerator[Sequence[Any]]]
"""Takes a request's arguments, gives what is sent, for as long as the client stays: the things that come together,
each of which becomes a line."""


class Listener:
    """Answers on the socket.

    Args:
        folder: The data folder.
        answers: Request name to what answers it.
        slow: Requests that take long and only read the state, which may be done beside the engine.
        streams: Request name to what streams.
    """

    def __init__(
        self, folder: Path, answers: Mapping[str, Answer], slow: Collection[str] = (),
        streams: Mapping[str, Stream] | None = None,
    ) -> None:  # fmt: skip
        self._folder = folder
        self._answers = answers
        self._slow = slow
        self._streams = streams or {}
        self._streaming: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen; a socket left by a process that died is replaced (the folder's lock is ours by now)."""
        path = self._folder / NAME
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with _short(self._folder) as name:
            listening.bind(name)
        path.chmod(0o600)
        self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=_MOST_BYTES)

    async def close(self) -> None:
        """Stop, and take the socket away."""
        if self._server is not None:
            self._server.close()
            self._server = None
            for task in self._streaming:
                task.cancel()
            await asyncio.gather(*self._streaming, return_exceptions=True)
            # A disk that has turned read-only keeps it; whoever finds it learns that nobody listens.
            with contextlib.suppress(OSError):
                (self._folder / NAME).unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await asyncio.wait_for(reader.readline(), _TIMEOUT_S)
            stream = self._stream(line)
            if stream is not None:
                await self._send(stream, reader, writer)
                return
            writer.write(await self._encoded(line))
            await writer.drain()
        except (TimeoutError, OSError, ValueError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _stream(self, line: bytes) -> AsyncGenerator[Sequence[Any]] | None:
        """What a request streams; None for one that has one answer."""
        if not any(b'"' + name.encode() + b'"' in line for name in self._streams):
            return None
        with contextlib.suppress(msgspec.MsgspecError, KeyError):
            request = msgspec.json.decode(line, type=dict[str, Any])
            return self._streams[request.pop("ask")](request)
        return None

    async def _send(
        self, stream: AsyncGenerator[Sequence[Any]], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Send what is streamed until the client is gone: it says nothing more, so that reading ends with it."""
        sending = asyncio.create_task(_sent(stream, writer))
        gone = asyncio.create_task(reader.read(1))
        self._streaming.add(sending)
        try:
            await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._streaming.discard(sending)
            for task in (sending, gone):
                task.cancel()
            await asyncio.gather(sending, gone, return_exceptions=True)

    async def _encoded(self, line: bytes) -> bytes:
        """The answer, as it is sent; long ones are made in a thread, so that the engine goes on meanwhile."""
        if any(b'"' + name.encode() + b'"' in line for name in self._slow):
            return await asyncio.to_thread(lambda: msgspec.json.encode(self._answer(line)) + b"\n")
        answer = self._answer(line)
        if inspect.isawaitable(answer.get("answer")):
            try:
                answer = {"answer": await answer["answer"]}
            except (RefusedError, StateError) as error:
                answer = {"error": str(error)}
        return msgspec.json.encode(answer) + b"\n"

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = msgspec.json.decode(line, type=dict[str, Any])
            answer = self._answers[request.pop("ask")]
        except (msgspec.MsgspecError, KeyError):
            return {"error": f"unknown request; known: {', '.join([*self._answers, *self._streams])}"}
        try:
            return {"answer": answer(request)}
        except RefusedError as error:
            return {"error": str(error)}


async def _sent(stream: AsyncGenerator[Sequence[Any]], writer: asyncio.StreamWriter) -> None:
    try:
        async with contextlib.aclosing(stream):
            async for together in stream:
                writer.write(b"".join(msgspec.json.encode({"answer": each}) + b"\n" for each in together))
                await writer.drain()
    except RefusedError as error:
        writer.write(msgspec.json.encode({"error": str(error)}) + b"\n")
        await writer.drain()
    except OSError:
        pass  # the client is gone


@contextlib.contextmanager
def _short(folder: Path) -> Any:
    """A name of the socket that fits the 107 bytes of a socket address, however deep the folder lies."""
    plain = str(folder / NAME)
    if len(plain.encode()) < 100:
        yield plain
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{handle}/{NAME}"
    finally:
        os.close(handle)


class Answered(NamedTuple):
    """What was answered, which may be None.

    Attributes:
        value: Decoded JSON.
    """

    value: Any


def ask(folder: Path, request: str, **arguments: Any) -> Answered | None:
    """Ask the process that holds a folder.

    Returns:
        Its answer; None when nobody listens.

    Raises:
        RefusedError: It answered that the request is wrong.
        StateError: It did not answer properly.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(_TIMEOUT_S)
        try:
            with _short(folder) as name:
                client.connect(name)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return None
        try:
            client.sendall(msgspec.json.encode({"ask": request, **arguments}) + b"\n")
            with client.makefile("rb") as lines:
                answer = msgspec.json.decode(lines.readline(_MOST_BYTES), type=dict[str, Any])
        except (OSError, msgspec.MsgspecError) as error:
            raise StateError(f"the process that holds {folder} did not answer: {type(error).__name__}") from None
    if "error" in answer:
        raise RefusedError(str(answer["error"]))
    return Answered(answer["answer"])


async def follow(folder: Path, request: str, **arguments: Any) -> AsyncGenerator[Any]:
    """What the process that holds a folder streams, until closed (``aclose``).

    Yields:
        Each thing, as decoded JSON.

    Raises:
        RefusedError: It answered that the request is wrong.
        StateError: Nobody holds the folder, or it went away.
    """
    try:
        with _short(folder) as name:
            reader, writer = await asyncio.open_unix_connection(name, limit=_MOST_BYTES)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        raise StateError(f"no process holds {folder}") from None
    try:
        writer.write(msgspec.json.encode({"ask": request, **arguments}) + b"\n")
        while line := await reader.readline():
            answer = msgspec.json.decode(line, type=dict[str, Any])
            if "error" in answer:
                raise RefusedError(str(answer["error"]))
            yield answer["answer"]
        raise StateError(f"the process that holds {folder} went away")
    except (OSError, ValueError) as error:
        raise StateError(f"the process that holds {folder} did not answer: {type(error).__name__}") from None
    finally:
        writer.close()
