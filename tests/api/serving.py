"""The application on a real port of this machine, for clients that we did not write."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import uvicorn

START_S = 20.0


@contextlib.contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve an application in a thread; yields its URL without a closing slash."""
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off", timeout_graceful_shutdown=2)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + START_S
    while not server.started:
        assert thread.is_alive(), "the server ended at its start"
        assert time.monotonic() < until, "the server did not start"
        time.sleep(0.01)
    try:
        (port,) = {each.getsockname()[1] for each in server.servers[0].sockets}
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(START_S)
