"""A listener's certificate, read again when its files change, so that a renewal needs no restart."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

import uvicorn

from headrace import logs

_TICKS: Final = 100
"""How often a server looks at its files, in ticks of uvicorn's main loop (a tenth of a second each)."""


class Certificate:
    """A certificate chain and its key on disk, as a TLS context that is in use holds them.

    Args:
        context: What new connections are made with; connections that are open keep what they began with.
        chain: Path of a PEM file.
        key: Path of its private key.
    """

    def __init__(self, context: ssl.SSLContext, chain: str, key: str) -> None:
        self._context = context
        self._chain = chain
        self._key = key
        self._in_use = self._refused = self._stamps()

    def renew(self) -> bool:
        """Take the files when they have changed; the certificate in use stays when they cannot be used (yet).

        Returns:
            Whether another certificate is in use now.
        """
        stamps = self._stamps()
        if stamps == self._in_use:
            return False
        try:
            # A trial first: a chain that was renewed before its key would leave the context with neither.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._chain, self._key)
            self._context.load_cert_chain(self._chain, self._key)
        except OSError as error:  # ssl.SSLError is one
            if stamps != self._refused:
                self._refused = stamps
                problem = error.strerror or type(error).__name__
                logs.get().error("a renewed certificate cannot be used", file=self._chain, problem=problem)
            return False
        self._in_use = stamps
        logs.get().info("a renewed certificate is in use", file=self._chain)
        return True

    def _stamps(self) -> tuple[tuple[int, int], ...]:
        found = []
        for name in (self._chain, self._key):
            try:
                about = Path(name).stat()
            except OSError:  # between the old file and the new one there may be none
                found.append((0, 0))
            else:
                found.append((about.st_mtime_ns, about.st_ino))
        return tuple(found)


class Server(uvicorn.Server):
    """A server that follows the files of its certificate, if it has one."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._certificate: Certificate | None = None

    async def on_tick(self, counter: int) -> bool:
        """Look at the files every ten seconds; called by uvicorn ten times a second."""
        config = self.config
        if self._certificate is None and config.ssl is not None:
            self._certificate = Certificate(config.ssl, str(config.ssl_certfile), str(config.ssl_keyfile))
        elif self._certificate is not None and counter % _TICKS == 0:
            self._certificate.renew()
        return await super().on_tick(counter)
