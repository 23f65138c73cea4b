"""The socket in the data folder: commands ask the process that holds the folder, instead of opening it.

One request a connection, one answer: each a JSON object on one line. Only the folder's owner can connect.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from headrace.errors import RefusedError, StateError

NAME: Final = "headrace.sock"
_MOST_BYTES: Final = 64 << 20
_TIMEOUT_S: Final = 30.0

Answer = Callable[[Mapping[str, Any]], Any]
"""Takes a request's arguments, gives what is answered: anything msgspec encodes."""


class Listener:
    """Answers on the socket.

    Args:
        folder: The data folder.
        answers: Request name to what answers it.
        slow: Requests that take long and only read the state, which may be done beside the engine.
    """

    def __init__(self, folder: Path, answers: Mapping[str, Answer], slow: Collection[str] = ()) -> None:
        self._folder = folder
        self._answers = answers
        self._slow = slow
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
            with contextlib.suppress(FileNotFoundError):
                (self._folder / NAME).unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await asyncio.wait_for(reader.readline(), _TIMEOUT_S)
            writer.write(await self._encoded(line))
            await writer.drain()
        except (TimeoutError, OSError, ValueError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _encoded(self, line: bytes) -> bytes:
        """The answer, as it is sent; long ones are made in a thread, so that the engine goes on meanwhile."""
        if any(b'"' + name.encode() + b'"' in line for name in self._slow):
            return await asyncio.to_thread(lambda: msgspec.json.encode(self._answer(line)) + b"\n")
        return msgspec.json.encode(self._answer(line)) + b"\n"

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = msgspec.json.decode(line, type=dict[str, Any])
            answer = self._answers[request.pop("ask")]
        except (msgspec.MsgspecError, KeyError):
            return {"error": f"unknown request; known: {', '.join(self._answers)}"}
        try:
            return {"answer": answer(request)}
        except RefusedError as error:
            return {"error": str(error)}


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


def ask(folder: Path, request: str, **arguments: Any) -> Any:
    """Ask the process that holds a folder.

    Returns:
        Its answer, as decoded JSON; None when nobody listens.

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
    return answer["answer"]
