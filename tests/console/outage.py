"""A door to a local server that can be shut: while it is, nobody answers at its port."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Final

from tests.servers import free_port

_CHUNK: Final = 65_536


class Door:
    """Passes connections on to a server of this machine.

    Args:
        port: The server's.

    Attributes:
        url: Where the door is.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._own = free_port()
        self.url = f"http://127.0.0.1:{self._own}"
        self._listening: socket.socket | None = None
        self._passing: set[socket.socket] = set()

    def open(self) -> None:
        """Let connections through."""
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", self._own))
        made.listen(64)
        self._listening = made
        threading.Thread(target=self._accept, args=(made,), daemon=True).start()

    def shut(self) -> None:
        """Let nobody through, and break off whoever is."""
        if self._listening is not None:
            with contextlib.suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
            self._listening = None
        for each in list(self._passing):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                near, _ = listening.accept()
                far = socket.create_connection(("127.0.0.1", self._port), timeout=10)
            except OSError:
                return
            far.settimeout(None)
            self._passing |= {near, far}
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(_CHUNK):
                sink.sendall(chunk)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
            self._passing.discard(each)


@contextlib.contextmanager
def door(port: int) -> Iterator[Door]:
    """A door that is open, and shut at the end."""
    made = Door(port)
    made.open()
    try:
        yield made
    finally:
        made.shut()
