"""The collection routes of AEP's streaming ingestion, as one plain ASGI application.

    POST /collection/{inlet}         one update               200, or 400 with the reason
    POST /collection/batch/{inlet}   {"messages": [...]}      207, with one response a message
    GET  other paths                 as mounted by the owner

An answer is sent once the updates are durable. Every update is validated before its answer, so the query
parameters ``syncValidation`` and ``synchronousValidation`` change nothing; they are taken in any spelling.
"""

from __future__ import annotations

import asyncio
import hmac
import itertools
import logging
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping, Sequence
from typing import Any, Final

import msgspec

from headrace.clock import Clock
from headrace.sources.arrivals import OVERHEAD_BYTES, Arrivals, Request
from headrace.sources.inflate import BadGzipError, inflate
from headrace.sources.problems import ProblemError, headers, problem

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Page = Callable[[], Awaitable[tuple[int, str, bytes]]]

PREFIX: Final = "/collection/"
BATCH_PREFIX: Final = "/collection/batch/"
MAX_INLET_CHARS: Final = 256
_JSON: Final = b"application/json"
_HANG_UP: Final = (b"connection", b"close")

log = logging.getLogger(__name__)


class _Messages(msgspec.Struct):
    messages: list[msgspec.Raw]


class _Stored(msgspec.Struct):
    xaction_id: str = msgspec.field(name="xactionId")


class _NotStored(msgspec.Struct):
    status: int
    message: str
    reason: str


class _Validation(msgspec.Struct):
    status: str = "pass"


class _Single(msgspec.Struct):
    inlet_id: str = msgspec.field(name="inletId")
    xaction_id: str = msgspec.field(name="xactionId")
    received_ms: int = msgspec.field(name="receivedTimeMs")
    validation: _Validation = msgspec.field(name="synchronousValidation", default_factory=_Validation)


class _Several(msgspec.Struct):
    inlet_id: str = msgspec.field(name="inletId")
    batch_id: str = msgspec.field(name="batchId")
    received_ms: int = msgspec.field(name="receivedTimeMs")
    responses: Sequence[_Stored | _NotStored]


_encode = msgspec.json.Encoder().encode
_messages = msgspec.json.Decoder(_Messages).decode
_PASSED: Final = _Validation()


class Routes:
    """The application.

    Args:
        arrivals: Where accepted requests go.
        clock: For receivedTimeMs.
        inlets: The inlets there are; None takes any.
        tokens: Inlet to the bearer token it needs; others need none.
        max_body_bytes: The most a body may take, compressed and not.
        max_messages: The most messages of a batch.
        body_timeout_s: The longest a body may take to arrive.
        pages: GET path to what it answers.
    """

    def __init__(
        self,
        arrivals: Arrivals,
        clock: Clock,
        *,
        inlets: Collection[str] | None,
        tokens: Mapping[str, str],
        max_body_bytes: int,
        max_messages: int,
        body_timeout_s: float,
        pages: Mapping[str, Page],
    ) -> None:
        self._arrivals = arrivals
        self._clock = clock
        self._inlets = None if inlets is None else frozenset(inlets)
        self._tokens = {inlet: token.encode() for inlet, token in tokens.items()}
        self._max_body_bytes = max_body_bytes
        self._max_messages = max_messages
        self._body_timeout_s = body_timeout_s
        self._pages = dict(pages)
        self._tag = secrets.token_hex(4)  # sets this process's transaction ids apart
        self._count = itertools.count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            status, kind, body, more = await self._answer(scope, receive)
        except ProblemError as error:
            what = problem(error.code, error.detail)
            status, kind, body, more = what.status, _JSON, _encode(what), error.headers + headers(what.status)
        except Exception as error:  # noqa: BLE001 - one request must not stop the others, and its content stays unsaid
            log.error("a request failed: %s", type(error).__name__)
            status, kind, body, more = 500, _JSON, _encode(problem("internal")), ()
        length = str(len(body)).encode()
        head = [(b"content-type", kind), (b"content-length", length), *more]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": body})

    async def _answer(
        self, scope: Scope, receive: Receive
    ) -> tuple[int, bytes, bytes, tuple[tuple[bytes, bytes], ...]]:
        path: str = scope["path"]
        batch = path.startswith(BATCH_PREFIX)
        inlet = path[len(BATCH_PREFIX) if batch else len(PREFIX) :] if path.startswith(PREFIX) else ""
        if inlet and "/" not in inlet:
            if scope["method"] != "POST":
                raise ProblemError("method-not-allowed", "use POST", (b"allow", b"POST"))
            status, answer = await self._collect(inlet, dict(scope["headers"]), receive, batch=batch)
            return status, _JSON, _encode(answer), ()
        page = self._pages.get(path)
        if page is None:
            raise ProblemError("unknown-path", "collection is at /collection/{inlet} and /collection/batch/{inlet}")
        if scope["method"] not in ("GET", "HEAD"):
            raise ProblemError("method-not-allowed", "use GET", (b"allow", b"GET, HEAD"))
        status, kind, body = await page()
        return status, kind.encode(), body, ()

    async def _collect(
        self, inlet: str, head: dict[bytes, bytes], receive: Receive, *, batch: bool
    ) -> tuple[int, msgspec.Struct]:
        self._admit(inlet, head)
        if self._arrivals.closing:
            raise ProblemError("closing", "", _HANG_UP)
        kind = head.get(b"content-type", _JSON).split(b";", 1)[0].strip().lower()
        if kind != _JSON and not kind.endswith(b"+json"):
            raise ProblemError("media-type", "send it with Content-Type: application/json")
        body = _Body(self._arrivals, self._max_body_bytes)
        try:
            try:
                async with asyncio.timeout(self._body_timeout_s):
                    content = await body.read(head, receive)
            except TimeoutError:
                seconds = f"the limit is {self._body_timeout_s:g} s"
                raise ProblemError("timeout", seconds, _HANG_UP) from None
            bodies = self._split(content) if batch else [content]
            del content  # a batch is held once
            return await self._store(inlet, bodies, head.get(b"idempotency-key"), batch=batch)
        finally:
            body.release()

    def _admit(self, inlet: str, head: dict[bytes, bytes]) -> None:
        if len(inlet) > MAX_INLET_CHARS or (self._inlets is not None and inlet not in self._inlets):
            raise ProblemError("unknown-inlet", "the inlets are those of the configuration")
        needed = self._tokens.get(inlet)
        if needed is None:
            return
        scheme, _, given = head.get(b"authorization", b"").partition(b" ")
        given = given.strip() if scheme.lower() == b"bearer" else b""
        if hmac.compare_digest(given, needed):
            return
        if any(hmac.compare_digest(given, other) for other in self._tokens.values()):
            raise ProblemError("forbidden", "it belongs to another inlet")
        raise ProblemError("unauthorized", "send Authorization: Bearer <token>", (b"www-authenticate", b"Bearer"))

    async def _store(
        self, inlet: str, bodies: list[bytes], key: bytes | None, *, batch: bool
    ) -> tuple[int, msgspec.Struct]:
        received_ms = self._clock.now_ms()
        ref = f"{received_ms}:{self._tag}:{next(self._count)}"
        answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        update_key = None if key is None else key.decode("latin-1")
        request = Request(inlet, ref, bodies, update_key, answered, batch=batch)
        if self._arrivals.closing:
            raise ProblemError("closing", "", _HANG_UP)
        self._arrivals.put(request)
        if not await answered:
            raise ProblemError("unknown-fate" if request.taken else "closing", "", _HANG_UP)
        if batch:
            return 207, _Several(inlet, ref, received_ms, _responses(request))
        if request.refusals:
            why = request.refusals[0]
            what = problem(why.reason, why.problem)
            what.inlet_id, what.xaction_id, what.received_ms = inlet, ref, received_ms
            return 400, what
        return 200, _Single(inlet, ref, received_ms, _PASSED)

    def _split(self, content: bytes) -> list[bytes]:
        try:
            messages = _messages(content).messages
        except msgspec.ValidationError as error:
            raise ProblemError("bad-batch", str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ProblemError("not-json", "the body is not valid JSON in UTF-8") from None
        if not messages:
            raise ProblemError("bad-batch", "there is no message in it")
        if len(messages) > self._max_messages:
            raise ProblemError("bad-batch", f"it has {len(messages):,} messages, the limit is {self._max_messages:,}")
        return [bytes(message) for message in messages]


class _Body:
    """The body of one request, counted while it is held."""

    def __init__(self, arrivals: Arrivals, limit_bytes: int) -> None:
        self._arrivals = arrivals
        self._limit = limit_bytes
        self._held_bytes = 0

    async def read(self, head: dict[bytes, bytes], receive: Receive) -> bytes:
        """The whole body, no more than the limit."""
        self._hold(OVERHEAD_BYTES)
        declared = int(head.get(b"content-length", b"0"))
        if declared > self._limit:
            raise self._too_large()
        if not self._arrivals.fits(declared):
            raise ProblemError("busy")
        message = await receive()
        content: bytes = message.get("body", b"")
        self._take(len(content), len(content))
        if message.get("more_body", False):
            pieces, size = [content], len(content)
            while message.get("more_body", False):
                message = await receive()
                content = message.get("body", b"")
                size += len(content)
                self._take(len(content), size)
                pieces.append(content)
            content = b"".join(pieces)
        if message["type"] == "http.disconnect":
            raise ProblemError("bad-request", "the connection was closed before the body had arrived")
        return self._unpack(content, head.get(b"content-encoding", b"identity").strip().lower())

    def _unpack(self, content: bytes, encoding: bytes) -> bytes:
        if encoding == b"identity":
            return content
        if encoding not in (b"gzip", b"x-gzip"):
            raise ProblemError(
                "media-type", "Content-Encoding may be gzip or identity", (b"accept-encoding", b"gzip")
            )
        try:
            inflated = inflate(content, self._limit)
        except BadGzipError as error:
            raise ProblemError("bad-request", f"the body is not gzip: {error}") from None
        if inflated is None:
            raise self._too_large()
        self._take(len(inflated), len(inflated))
        return inflated

    def _too_large(self) -> ProblemError:
        return ProblemError("body-too-large", f"the limit is {self._limit:,} bytes")

    def _take(self, more: int, size: int) -> None:
        if size > self._limit:
            raise self._too_large()
        self._hold(more)

    def _hold(self, size_bytes: int) -> None:
        if not self._arrivals.fits(size_bytes):
            raise ProblemError("busy")
        self._arrivals.hold(size_bytes)
        self._held_bytes += size_bytes

    def release(self) -> None:
        """It is answered."""
        self._arrivals.hold(-self._held_bytes)
        self._held_bytes = 0


def _responses(request: Request) -> Sequence[_Stored | _NotStored]:
    responses: list[_Stored | _NotStored] = [
        _Stored(f"{request.ref}:{index}") for index in range(len(request.bodies))
    ]
    for one in request.refusals:
        responses[one.index] = _NotStored(400, one.problem, one.reason)
    return responses
