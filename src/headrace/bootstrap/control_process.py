"""The control process: REST API and console on the records, and the engine beside it over the socket.

Nothing of it is needed for messages to flow: the engine goes on when it hangs or dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import logging
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import uvicorn

from headrace import logs, settings
from headrace.api.limits import Limits
from headrace.certificates import Server
from headrace.clock import System
from headrace.control import configuration as configurations
from headrace.control import file_records
from headrace.control.document import Document
from headrace.control.hourly import Recorder
from headrace.control.organisations import FirstStart
from headrace.control.overlay import OverlayStore
from headrace.control.resources import Scope
from headrace.control.service import Control
from headrace.control.store import Store
from headrace.errors import RefusedError, StateError
from headrace.settings import Settings

from .announcing import Announcer
from .control import build_control, listed, open_store, organisation_of, start_first
from .flows import specs
from .recording import Recording
from .runtime import SocketRuntime
from .web import BoundedProtocol

_WAITS_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_COLLECTION_S: Final = 3.0
_STANDARD_INPUT: Final = 0


def serve(
    loaded: Settings, listening: socket.socket, configuration: Path | None, say: Callable[[str], None]
) -> None:  # fmt: skip
    """Serve until told to end, or until the process that started this one is gone.

    Args:
        loaded: The settings.
        listening: The socket to listen on.
        configuration: The file that rules; None when the database does.
        say: Shows the first start's credentials.

    Raises:
        ConfigurationError: The sealing key is unusable.
        RefusedError: The database is not the one of before.
    """
    _end_with_parent()
    store = _opened(loaded)
    runtime = SocketRuntime(loaded.data_dir)
    announcer = Announcer(runtime)
    control = build_control(loaded, store, changed=announcer.changed)
    first = start_first(control, loaded)
    if first is not None:
        for line in credentials(first, address(loaded, listening)):
            say(line)
    if configuration is not None:
        control = file_control(control, loaded, configuration)
    scope = Scope(organisation_of(store, loaded), loaded.sandbox)
    control = msgspec.structs.replace(control, organisation=scope.org)
    recording = Recording(runtime, Recorder(control, scope, loaded.runs_days))
    announcer.start()
    recording.start()
    _tell_faults()
    # The server stops at a signal, and raises it again once it has stopped: it must not end the process then.
    signal.signal(signal.SIGTERM, lambda *_: None)
    tune_collector()
    try:
        app = application(control, runtime, loaded)
        Server(_options(loaded, app)).run(sockets=[listening])
    finally:
        announcer.end()
        recording.end()
        store.close()


def tune_collector() -> None:
    """Look for cycles less often, and among what came since the start alone: an answer makes thousands of objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def _end_with_parent() -> None:
    """End at once when the pipe to standard input is closed: the engine's process is gone.

    Whatever is being written is a transaction: it is stored whole, or not at all.
    """

    def wait() -> None:
        # Not by sys.stdin, whose lock a thread that waits would hold when the process ends by itself.
        while os.read(_STANDARD_INPUT, 1):
            pass
        os._exit(0)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def _collection(loaded: Settings, runtime: SocketRuntime) -> str:
    """URL of a collection whose port the system has chosen: the engine knows it once it listens."""
    if loaded.collection_port or loaded.collection_url:
        return ""
    until = System().monotonic_s() + _COLLECTION_S
    while System().monotonic_s() < until:
        with contextlib.suppress(StateError, RefusedError):
            found = str(runtime.ask("addresses")["collection"]).partition("/collection/")[0]
            if not found.endswith(":0"):
                return found
        time.sleep(_WAITS_S[0])
    return ""


def _opened(loaded: Settings) -> Store:
    """The database, waited for as long as it takes."""
    told = ""
    tries = 0
    while True:
        try:
            return open_store(loaded)
        except StateError as error:
            if str(error) != told:
                told = str(error)
                logs.get().error("the control process waits for its database", problem=told)
            time.sleep(_WAITS_S[min(tries, len(_WAITS_S) - 1)])
            tries += 1


def file_control(control: Control, loaded: Settings, path: Path) -> Control:
    """A control plane that shows what a file rules, and changes nothing; it follows the file."""
    control = msgspec.structs.replace(control, read_only=True)
    scope = Scope(organisation_of(control.store, loaded), loaded.sandbox)
    overlay = OverlayStore(control.store, _file_store(control, path, scope))

    def follow() -> None:
        import watchfiles

        for _ in watchfiles.watch(path.parent, recursive=False, raise_interrupt=False):
            # A file with mistakes: the engine's process has logged it, and what was read before is in force.
            with contextlib.suppress(RefusedError, OSError):
                overlay.configured = _file_store(control, path, scope)

    threading.Thread(target=follow, name="configuration", daemon=True).start()
    return msgspec.structs.replace(control, store=overlay)


def _file_store(control: Control, path: Path, scope: Scope) -> Store:
    content = path.read_bytes()
    configurations.parse(content, specs(), name=path.name, folder=path.parent)  # raises for mistakes
    document = Document(content, name=path.name, folder=path.parent, environ=settings.environment())
    return file_records.store(control, document.root, scope, int(path.stat().st_mtime * 1000))


def application(control: Control, runtime: SocketRuntime, loaded: Settings) -> Any:
    """The API, and the console where it is installed."""
    from headrace.api.app import create_app

    app = create_app(control, runtime, limits=limits(loaded))
    if importlib.util.find_spec("headrace.console.app") is not None:
        from headrace.console.app import mount

        mount(app, control, runtime)
    return app


def limits(loaded: Settings) -> Limits:
    """What one request to API and console, and one address, may take."""
    return Limits(
        body_bytes=loaded.api_body_bytes,
        body_timeout_s=loaded.api_body_timeout_s,
        requests_per_s=loaded.api_requests_per_s,
        burst=loaded.api_requests_burst,
        sign_ins_per_s=loaded.api_sign_ins_per_s,
        sign_in_burst=loaded.api_sign_ins_burst,
    )


def _options(loaded: Settings, app: Any) -> uvicorn.Config:
    proxies = listed(loaded.trusted_proxies)
    return uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        timeout_keep_alive=75,
        timeout_graceful_shutdown=2,
        ssl_certfile=loaded.api_certificate or None,
        ssl_keyfile=loaded.api_certificate_key or None,
    )


class _Faults(logging.Handler):
    """Tells of a request that failed for a reason of ours by what and where, without words that may hold values."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            logs.get().warning("the API's server", problem=record.getMessage())
            return
        if isinstance(error, asyncio.CancelledError):
            return  # cut off by the end of the process, as a live view that is open: no fault of the request
        frame = traceback.extract_tb(error.__traceback__)[-1]
        logs.get().error(
            "a request to API or console failed", problem=type(error).__name__,
            place=f"{Path(frame.filename).name} line {frame.lineno}",
        )  # fmt: skip
        logs.get().debug("its trace", trace="".join(traceback.format_exception(error)))


def _tell_faults() -> None:
    logger = logging.getLogger("uvicorn.error")
    logger.handlers[:] = [_Faults()]
    logger.propagate = False


def address(loaded: Settings, listening: socket.socket) -> str:
    """The URL by which API and console are reached, without a closing slash."""
    if loaded.public_url:
        return loaded.public_url.rstrip("/")
    scheme = "https" if loaded.api_certificate else "http"
    host = f"[{loaded.api_host}]" if ":" in loaded.api_host else loaded.api_host
    return f"{scheme}://{host}:{listening.getsockname()[1]}"


def credentials(first: FirstStart, url: str) -> list[str]:
    """The first start in words: what is shown now and never again."""
    return [
        "This is the first start. These credentials are shown now and never again:",
        "",
        f"  console        {url}/",
        f"  login          {first.user.name}",
        f"  password       {first.user.secret.reveal()}",
        "",
        f"  API            {url}/data/foundation/flowservice",
        f"  organisation   {first.org}",
        f"  client id      {first.client.id}",
        f"  client secret  {first.client.secret.reveal()}",
        "",
        "Lost ones are made anew with: headrace users reset-secret, headrace clients reset-secret",
    ]
