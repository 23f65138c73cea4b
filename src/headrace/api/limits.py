"""Bounds on every request, whatever it is for: size and time of its body, and how many come from one address."""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import msgspec
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from headrace.clock import Clock
from headrace.control.problems import Code, problem
from headrace.errors import UseCaseError

from . import problems

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

SIGN_IN_PATH: Final = "/ims/token/v3"
"""Costs far more than any other request, so that it has a rate of its own."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one request, and one address, may take.

    Attributes:
        body_bytes: Largest body.
        body_timeout_s: Longest wait for a body to arrive whole.
        requests_per_s: Requests a second from one address, on average; 0 for any number.
        burst: Requests from one address at once.
        sign_ins_per_s: Sign-ins a second from one address, on average; 0 for any number.
        sign_in_burst: Sign-ins from one address at once.
    """

    body_bytes: int = 4 * 1024 * 1024
    body_timeout_s: float = 30.0
    requests_per_s: float = 200.0
    burst: int = 400
    sign_ins_per_s: float = 2.0
    sign_in_burst: int = 20


class Rate:
    """A token bucket for each name.

    Args:
        clock: Its monotonic time counts.
        per_s: Tokens a second; 0 for no bound.
        burst: Tokens that a bucket holds.
        names: Most names remembered; the longest unused is forgotten first.
    """

    def __init__(self, clock: Clock, per_s: float, burst: int, *, names: int = 10_000) -> None:
        self._clock = clock
        self._per_s = per_s
        self._burst = burst
        self._names = names
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> float:
        """Take a token; the wait in seconds until there is one, 0 when it was taken."""
        if self._per_s <= 0:
            return 0.0
        now_s = self._clock.monotonic_s()
        left, at_s = self._buckets.pop(name, (float(self._burst), now_s))
        left = min(float(self._burst), left + (now_s - at_s) * self._per_s)
        wait_s = 0.0 if left >= 1 else (1 - left) / self._per_s
        self._buckets[name] = (left if wait_s else left - 1, now_s)
        if len(self._buckets) > self._names:
            self._buckets.popitem(last=False)
        return wait_s


class Bounded:
    """Applies the limits, and gives each request an id.

    Args:
        app: What answers.
        limits: The limits.
        clock: For rates.
    """

    def __init__(self, app: App, limits: Limits, clock: Clock) -> None:
        self._app = app
        self._limits = limits
        self._requests = Rate(clock, limits.requests_per_s, limits.burst)
        self._sign_ins = Rate(clock, limits.sign_ins_per_s, limits.sign_in_burst)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex
        scope["headrace.request_id"] = request_id
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            self._admit(scope)
            await self._app(scope, self._receiving(scope, receive), sending)
        except UseCaseError as error:
            if started:
                raise
            response = problems.response_of(error, request_id)
            await response(scope, receive, sending)
        except ClientDisconnect:
            pass  # nobody is left to answer
        except Exception as error:  # a server would log it with the values it quotes
            if started:
                raise
            response = problems.unexpected(error, request_id)
            await response(scope, receive, sending)

    def _admit(self, scope: MutableMapping[str, Any]) -> None:
        """Refuse what is too large by its own words, and who asks too often."""
        stated = Headers(scope=scope).get("content-length", "")
        if stated.isdecimal() and int(stated) > self._limits.body_bytes:
            raise self._too_large()
        client = scope.get("client")
        name = str(client[0]) if client else ""
        wait_s = self._requests.take(name)
        if not wait_s and scope["path"] == SIGN_IN_PATH:
            wait_s = self._sign_ins.take(name)
        if wait_s:
            raise problem(Code.TOO_MANY_REQUESTS, "too many requests come from there; wait", wait_s=wait_s)

    def _receiving(self, scope: MutableMapping[str, Any], receive: Receive) -> Receive:
        """Receives a body within its bounds; afterwards whatever the server says."""
        if scope["method"] in ("GET", "HEAD", "DELETE"):
            return receive
        limits, seen = self._limits, 0
        ends_s: float | None = None
        whole = False

        async def bounded() -> Message:
            nonlocal seen, whole, ends_s
            if whole:
                return await receive()
            loop = asyncio.get_running_loop()
            ends_s = ends_s or loop.time() + limits.body_timeout_s
            try:
                async with asyncio.timeout_at(ends_s):
                    message = await receive()
            except TimeoutError:
                raise problem(Code.TOO_SLOW, f"the body did not arrive within {limits.body_timeout_s:g} s") from None
            seen += len(message.get("body", b""))
            if seen > limits.body_bytes:
                raise self._too_large()
            whole = not message.get("more_body", False)
            return message

        return bounded

    def _too_large(self) -> UseCaseError:
        return problem(Code.TOO_LARGE, f"the body is larger than {self._limits.body_bytes} bytes")
