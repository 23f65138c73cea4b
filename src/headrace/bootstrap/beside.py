"""The control process beside the engine: started, started again when it dies, ended with the engine.

It listens on a socket that the engine's process opened, so that a start with a port that is taken is refused at once,
and calls wait, rather than fail, while the control process is started again. The engine never waits for it. It ends
by itself when the engine's process is gone: the pipe to its standard input is closed then.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import ssl
import sys
from pathlib import Path
from typing import Final

from headrace import logs, settings
from headrace.errors import ConfigurationError, Mistake
from headrace.settings import Settings

_WAITS_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses before it is started again; the last one repeats."""
_WELL_S: Final = 30.0
"""Having lived so long, it counts as well: the pauses begin anew."""
_END_S: Final = 5.0
"""How long it may take to end."""
_BIND_S: Final = 2.0
"""How long the port may still be held by one whose engine was killed."""


class Beside:
    """The control process.

    Args:
        settings: Of this process; it gets the same.
        configuration: The file that rules; None when the database does.

    Attributes:
        port: That it listens on; known once entered.
        pid: Of the process that runs now; 0 between two.
        starts: How often it was started.
    """

    def __init__(self, settings: Settings, configuration: Path | None = None) -> None:
        self._settings = settings
        self._configuration = configuration
        self._listening: socket.socket | None = None
        self._child: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._ending = False
        self.port = 0
        self.starts = 0

    @property
    def pid(self) -> int:
        """Of the process that runs now; 0 between two."""
        return self._child.pid if self._child is not None and self._child.returncode is None else 0

    @property
    def url(self) -> str:
        """By which it is reached on this machine."""
        host = self._settings.api_host
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if self._settings.api_certificate else 'http'}://{shown}:{self.port}"

    async def start(self) -> None:
        """Listen, and start it.

        Raises:
            ConfigurationError: The address cannot be listened on, or the certificate cannot be used.
        """
        check_certificate(
            self._settings.api_certificate, self._settings.api_certificate_key, "HEADRACE_API_CERTIFICATE"
        )
        self._listening = await _listen(self._settings.api_host, self._settings.api_port)
        self.port = self._listening.getsockname()[1]
        self._keeping = asyncio.create_task(self._keep(self._listening.fileno()), name="control process")

    async def _keep(self, handle: int) -> None:
        """Start it, and again whenever it has ended."""
        loop = asyncio.get_running_loop()
        tries = 0
        while not self._ending:
            begun = loop.time()
            try:
                self._child = await self._spawn(handle)
                self.starts += 1
                code = await self._child.wait()
            except OSError as error:  # no memory, no processes left: later perhaps
                logs.get().error("the control process cannot be started", problem=error.strerror)
                code = -1
            if self._ending:
                return
            tries = 0 if loop.time() - begun > _WELL_S else tries
            wait_s = _WAITS_S[min(tries, len(_WAITS_S) - 1)]
            tries += 1
            logs.get().error(
                "the control process has ended: no API and no console until it is started again; the engine goes on",
                status=code, again_in_s=wait_s,
            )  # fmt: skip
            await asyncio.sleep(wait_s)

    async def _spawn(self, handle: int) -> asyncio.subprocess.Process:
        command = [sys.executable, "-m", "headrace", "control-process", "--socket", str(handle)]
        if self._configuration is not None:
            command += ["--config", str(self._configuration)]
        return await asyncio.create_subprocess_exec(
            *command,
            env=_environment(self._settings),
            stdin=asyncio.subprocess.PIPE,
            pass_fds=(handle,),
            # A Ctrl-C in the terminal is the engine's to hear: the other ends after it.
            start_new_session=True,
        )

    async def end(self) -> None:
        """End it, however it is; may be called twice."""
        self._ending = True
        child = self._child
        if child is not None and child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(child.wait(), _END_S)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                await child.wait()
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self._listening is not None:
            self._listening.close()
            self._listening = None


def _environment(own: Settings) -> dict[str, str]:
    """This process's, with exactly these settings: what the command line changed back to a default stays so."""
    variables = {row.variable for row in settings.TABLE}
    others = {name: text for name, text in settings.environment().items() if name not in variables}
    return others | settings.as_environment(own)


async def _listen(host: str, port: int) -> socket.socket:
    """A socket at an address.

    Raises:
        ConfigurationError: It is taken, or none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    loop = asyncio.get_running_loop()
    until = loop.time() + _BIND_S
    while True:
        try:
            listening = socket.create_server((host, port), family=family, backlog=2048)
        except OSError as error:
            if loop.time() > until:
                problem = f"cannot listen on {host}:{port}: {error.strerror or error}"
                raise ConfigurationError(
                    mistakes=[Mistake("HEADRACE_API_HOST, HEADRACE_API_PORT", problem, "an address that is free")]
                ) from None
            await asyncio.sleep(0.1)
        else:
            listening.setblocking(False)
            return listening


def check_certificate(certificate: str, key: str, place: str) -> None:
    """Refuse a certificate that a listener could not use.

    Raises:
        ConfigurationError: One of the two files is missing, unreadable, or they do not belong together.
    """
    if not certificate and not key:
        return
    if not certificate or not key:
        raise ConfigurationError(mistakes=[Mistake(place, "certificate and key belong together: one is missing")])
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(mistakes=[Mistake(place, f"cannot be used: {reason}", "PEM files")]) from None
