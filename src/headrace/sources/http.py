"""The collection listener as a source: updates are posted to it, and answered once they are durable."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from headrace import clock as clocks
from headrace.sources.arrivals import OVERHEAD_BYTES, Arrivals
from headrace.sources.base import Batch
from headrace.sources.collection import Page, Routes
from headrace.sources.listener import Listener

MAX_BODY_BYTES: Final = 1_048_576
"""AEP's streaming ingestion takes up to 1 MB a request."""

MAX_MESSAGES: Final = 10_000
QUEUE_BYTES: Final = 67_108_864


class HttpCollection:
    """A source fed over HTTP (contract: ``sources/base.py``; routes: ``sources/collection.py``).

    It cannot resume: what was not answered is the client's to send again, with the same Idempotency-Key
    where a repeat matters. Requests waiting when ``read`` is called leave together, in the order they arrived
    in. ``acknowledge`` is called in the loop that ``open`` was called in.

    Args:
        host: Address to listen on.
        port: Port; 0 takes a free one, to be read from ``port`` after ``open``.
        inlets: The inlets there are; None takes any name.
        tokens: Inlet to the bearer token it needs; an inlet without one needs none.
        max_body_bytes: The most a body may take, inflated, a batch as a whole.
        max_messages: The most messages of a batch.
        queue_bytes: The most that all requests between arrival and answer may take; over it the answer is 429.
        body_timeout_s: The longest a body may take to arrive.
        grace_s: How long ``close`` waits for what was read to be acknowledged.
        certificate: Path of a PEM certificate chain, for TLS.
        key: Path of its private key.
        extra: GET path to a function that gives (status, content type, body), answered beside the routes.
        clock: For receivedTimeMs.
    """

    id = "http"

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        inlets: Collection[str] | None = None,
        tokens: Mapping[str, str] | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
        max_messages: int = MAX_MESSAGES,
        queue_bytes: int = QUEUE_BYTES,
        body_timeout_s: float = 30.0,
        grace_s: float = 10.0,
        certificate: str | None = None,
        key: str | None = None,
        extra: Mapping[str, Page] | None = None,
        clock: clocks.Clock | None = None,
    ) -> None:
        if queue_bytes < 2 * max_body_bytes + OVERHEAD_BYTES:
            raise ValueError("queue_bytes must hold a body twice, since a compressed one is held beside its content")
        if any(not token for token in (tokens or {}).values()):
            raise ValueError("a token may not be empty")
        self._grace_s = grace_s
        self._arrivals = Arrivals(self.id, queue_bytes)
        routes = Routes(
            self._arrivals,
            clock or clocks.System(),
            inlets=inlets,
            tokens=tokens or {},
            max_body_bytes=max_body_bytes,
            max_messages=max_messages,
            body_timeout_s=body_timeout_s,
            pages=extra or {},
        )
        self._listener = Listener(routes, host, port, certificate=certificate, key=key)

    @property
    def port(self) -> int:
        """The port listened on."""
        return self._listener.port

    async def open(self, position: bytes | None) -> None:
        """See ``Source``; the position is None always.

        Raises:
            SourceUnreadableError: The address is taken, or the certificate cannot be used.
        """
        await self._listener.start()

    async def read(self, most: int) -> Batch | None:
        """See ``Source``. May be cancelled: nothing is lost."""
        return await self._arrivals.take(most)

    async def close(self) -> None:
        """Turn new requests away, answer those that were read as they are acknowledged, stop listening."""
        try:
            await self._arrivals.close(self._grace_s)
        finally:
            await self._listener.stop()

    def position(self) -> bytes | None:
        """None: it cannot resume."""
        return None

    def progress(self) -> tuple[int, int | None]:
        """Updates read; how many there will be is not known."""
        return self._arrivals.taken, None
