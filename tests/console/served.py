"""The console served over HTTP on a free port of this machine, and a client that signs in."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator

import httpx
import uvicorn
from fastapi import FastAPI

from headrace.console.app import mount

from .sample import PASSWORD, Sample


def application(sample: Sample) -> FastAPI:
    """The console alone, as the control process has it."""
    app = FastAPI()
    mount(app, sample.control, sample.engine)
    return app


@contextlib.contextmanager
def serving(sample: Sample) -> Iterator[str]:
    """Serve until the block ends; yields the URL without a closing slash."""
    config = uvicorn.Config(
        application(sample), host="127.0.0.1", port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end_s = time.monotonic() + 20
    while not server.started and time.monotonic() < end_s:
        time.sleep(0.01)
    assert server.started
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        sample.engine.down = True
        thread.join(10)


def token_in(page: str) -> str:
    """The token against forged requests that a page holds."""
    found = re.search(r'name="csrf" value="(\w+)"', page)
    assert found is not None
    return found[1]


class Visitor:
    """Somebody with a browser that keeps cookies, in a test of pages.

    Args:
        client: Sends requests to the application.
    """

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.csrf = ""

    def sign_in(self, login: str, password: str = PASSWORD) -> httpx.Response:
        """Fill in the form."""
        self.csrf = token_in(self.client.get("/ui/sign-in").text)
        answer = self.post("/ui/sign-in", login=login, password=password)
        if answer.status_code == 303:
            self.csrf = token_in(self.client.get("/ui/settings").text)
        return answer

    def get(self, path: str, /, **query: str) -> httpx.Response:
        """Open a page."""
        return self.client.get(path, params=query or None)

    def post(self, path: str, /, **fields: str | list[str]) -> httpx.Response:
        """Send a form, as a page of the console would."""
        return self.client.post(path, data={"csrf": self.csrf, **fields})
